"""Gold: marts kept up to date by recomputing only the windows that new silver rows fall into.

A mart is plain SQL over `silver.*`, `reference.*` and other marts. To bring it up to date, the views it reads are
restricted to whole windows, its SQL runs over them as it is, and those windows of its table are replaced in one atomic
step. What it has applied stands in its `txn` actions: of each silver input the offset per partition, the count of
rewrites, of each mart it reads the count of commits, the version of each reference table and the digest of its own SQL
and contract. Whatever differs by more than new offsets, or than the windows of a mart that were replaced just before,
makes it start over, so a crash between two tables, a rebuild, or a changed file can never leave it behind.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import polars as pl

from analytics_platform import watermark, window
from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.gold import asof, finality, session_mart
from analytics_platform.gold.rows import rows_of
from analytics_platform.gold.session_mart import Read
from analytics_platform.gold.slicing import rows_in
from analytics_platform.gold.source import Input, Logs, MartInput, Sources, sources_of
from analytics_platform.gold.table import inside, kind, spec
from analytics_platform.lake.commit import TOKEN, Change, Move, commit
from analytics_platform.lake.files import Pinned, merged, overlap_sql
from analytics_platform.lake.table import Lake
from analytics_platform.report import MartReport

_FORM = "form"
"""The application id of what the platform itself adds to a mart's rows; a mart of another form starts over."""


CONTRACT = "contract"
"""The application id of the digest of a mart's SQL and contract."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a rebuild did to silver, told to the marts above it."""

    touched: Mapping[str, pl.Series]
    """Starts (UTC) of the windows to recompute, by mart."""
    before: Mapping[str, int]
    """How often each silver table had been rewritten before, by name: a mart that has seen just that needs no more than
    the touched windows."""
    after: Mapping[str, int]
    """How often with this rebuild's own: where it is more, somebody else rewrote other windows, and may have died."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a refresh did to a mart, told to the marts that read it."""

    before: int
    """How many commits its table had."""
    after: int
    starts: pl.Series | None
    """Starts (UTC) of the windows that were replaced; None where all were."""


@dataclass(frozen=True, slots=True)
class StartsOver:
    """Said of a mart that must be computed from all that it reads, which is too much at once. Nothing was written."""


def refresh_mart(
    lake: Lake,
    domain: Domain,
    mart: MartContract,
    logs: Logs,
    *,
    rewritten: Rewritten | None,
    changed: dict[str, Changed],
    most_rows: int | None = None,
) -> MartReport | StartsOver | None:
    """Bring one mart up to date; `None` when it is. What it did is added to `changed`.

    `most_rows`: with more rows in its inputs it does not start over but says so.

    Durable on return: its recomputed windows and what they were computed from.
    If it dies halfway: the mart is as it was.

    Raises:
        MartBroken: its SQL fails or its result does not fit its contract; the table stays as it was.
    """
    began = time.perf_counter()
    windows = removed = added = before = 0
    starts: pl.Series | None = None
    too_much = False

    def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
        nonlocal windows, removed, added, before, starts, too_much
        del left  # a mart has no moves of its own: it records what it was computed from
        before = table.progress(TOKEN) or 0
        state = state_of(table, lake, domain, mart, logs, rewritten=rewritten)
        if not state.stale and not state.moved and rewritten is None:
            return None
        if mart.window.session is not None:
            found = _of_sessions(table, domain, mart, state, rewritten)
            starts, windows, removed, added = found.starts, found.sessions, *found.differing
            return found.change(state.progress) if state.behind or found.rows.height or starts is None else None
        starts = starts_of(table, mart, state, rewritten, changed)
        if too_much := starts is None and _is_more(state.sources, most_rows):
            return None
        covered = None if starts is None else merged(window.ranges(starts, mart.window), most=window.MOST_RANGES)
        late = finality.late(state.final, covered)
        rows = rows_of(domain, mart, state.sources, covered, without=late.places if mart.window.keeps else None)
        rows = finality.stamped(rows, mart, state.final, late)
        windows = rows[mart.window.column].n_unique() if starts is None else starts.len()
        made, (removed, added) = _change(table, mart, state, rows, covered, compares=rewritten is not None)
        return made

    committed = commit(lake, spec(mart), change)
    if committed.change is None:
        return StartsOver() if too_much else None
    changed[mart.name] = Changed(before, before + 1, starts)
    return MartReport(
        mart.name, windows, committed.change.rows.height, time.perf_counter() - began, removed=removed, added=added
    )


def _change(
    table: Pinned,
    mart: MartContract,
    state: "State",
    rows: pl.DataFrame,
    covered: Sequence[window.Span] | None,
    *,
    compares: bool,
) -> tuple[Change | None, tuple[int, int]]:
    """What is written of recomputed rows, and how many rows of each side the other does not have, where that is asked."""
    bounds = None if covered is None else window.bounds(covered, mart.window.timezone, kind(mart))
    if bounds is not None and not bounds:
        return (Change(rows, progress=state.progress) if state.behind else None), (0, 0)
    differ = differing(_standing(table, mart, bounds), rows) if compares else (0, 0)
    if bounds is None:
        return Change(rows, replaces_all=True, progress=state.progress), differ
    if compares and not state.behind and not any(differ):
        return None, differ
    return Change(rows, replaces=overlap_sql(mart.window.column, bounds), progress=state.progress), differ


def _is_more(sources: Sources, rows: int | None) -> bool:
    return rows is not None and rows_in(sources) > rows


@dataclass(frozen=True, slots=True)
class State:
    """What a mart reads, as it is now, beside what the mart was computed from."""

    sources: Sources
    final: finality.Finality
    fixed: Mapping[str, int]
    """What makes it start over where it differs."""
    moving: Mapping[str, int]
    """What goes on by itself: offsets, commits of the marts below, the watermark."""
    have: Mapping[str, int | None]
    stale: bool

    @property
    def moved(self) -> bool:
        """Whether anything has gone on."""
        return any(self.have[name] != number for name, number in self.moving.items())

    @property
    def behind(self) -> bool:
        """Whether the mart has to record anything."""
        return self.moved or any(self.have[name] != number for name, number in self.fixed.items())

    @property
    def progress(self) -> dict[str, int]:
        """What the mart is computed from once it is up to date."""
        return {**self.fixed, **self.moving}


def contract_number(mart: MartContract) -> int:
    """The digest of a mart's SQL and contract, as its table records it."""
    return int(mart.header.digest[:15], 16)


def state_of(
    table: Pinned, lake: Lake, domain: Domain, mart: MartContract, logs: Logs, *, rewritten: Rewritten | None
) -> State:
    """What a mart reads, and what the table that holds its rows was computed from."""
    sources = sources_of(lake, domain, mart, logs)
    moving = {f"{item.name}:{app_id}": end for item in sources.silver for app_id, end in item.ends.items()}
    moving |= {f"gold:{item.mart.name}": item.commits for item in sources.marts}
    fixed = {f"rewrites:{item.name}": item.rewrites for item in sources.silver}
    restarting, going_on = asof.applied(sources, mart)
    moving |= going_on
    fixed |= restarting | {CONTRACT: contract_number(mart), _FORM: 1}
    have = {name: table.progress(name) for name in (*moving, *fixed, watermark.AT)}
    final = finality.finality_of(lake, domain, mart, watermark.instant(have[watermark.AT]))
    if final.watermark is not None:
        moving[watermark.AT] = watermark.number(final.watermark)
    elif have[watermark.AT] is not None:
        moving[watermark.AT] = watermark.NOTHING  # a contract took its watermark back: no window is final any more
    expected = fixed | _seen_before(rewritten, fixed)
    stale = any(have[name] not in {fixed[name], expected[name]} for name in fixed)
    stale |= final.watermark is None and have[watermark.AT] not in {None, watermark.NOTHING}
    return State(sources, final, fixed, moving, have, stale)


def _of_sessions(
    table: Pinned, domain: Domain, mart: MartContract, state: State, rewritten: Rewritten | None
) -> session_mart.Recomputed:
    """What becomes of a mart of sessions, which starts over after a rebuild of any of its rows: sessions may have parted."""
    parted = rewritten is not None and mart.name in rewritten.touched and rewritten.touched[mart.name].len() > 0
    have = None if state.stale or parted else state.have
    found = session_mart.recomputed(domain, mart, Read(state.sources, state.final, table.snapshot()), have)
    if rewritten is None or found.starts is not None:
        return found
    return replace(found, differing=differing(_standing(table, mart, None), found.rows))


def starts_of(
    table: Pinned,
    mart: MartContract,
    state: State,
    rewritten: Rewritten | None,
    changed: Mapping[str, Changed],
) -> pl.Series | None:
    """Starts (UTC) of the windows to recompute; None for all."""
    replaced = _replaced(state.sources.marts, mart, state.have, changed)
    if state.stale or replaced is None:
        return None
    before = watermark.instant(state.have[watermark.AT])
    closing = finality.closing(table.snapshot(), mart, state.final, before)
    told = asof.touched(state.sources, mart, state.have)
    starts = _touched(state.sources.silver, mart, state.have, rewritten, [*replaced, *told, closing])
    # No predicate can name where the windows of the year 9999 end.
    return None if window.at_the_end(starts) else starts


def _seen_before(rewritten: Rewritten | None, fixed: Mapping[str, int]) -> dict[str, int]:
    """The counts of rewrites from which the touched windows of a rebuild lead to those that silver has now."""
    if rewritten is None:
        return {}
    seen = {f"rewrites:{name}": count for name, count in rewritten.before.items()}
    own = {f"rewrites:{name}": count for name, count in rewritten.after.items()}
    return {name: count for name, count in seen.items() if own[name] == fixed.get(name)}


def touched_by(rows: pl.DataFrame, name: str, mart: MartContract) -> pl.Series:
    """Starts (UTC) of the windows of a mart that some rows of one of its silver inputs fall into, or are seen from."""
    return window.starts(rows[mart.window.time_fields[name]], mart.window, mart.window.lookback(name))


def _standing(
    table: Pinned, mart: MartContract, bounds: Sequence[tuple[datetime | date, datetime | date]] | None
) -> pl.DataFrame:
    """What the mart holds of some windows, or all of it, as `_rows` would return it."""
    snapshot = table.snapshot()
    if bounds is None:
        near = snapshot.scan()
    else:
        near = snapshot.touching(mart.window.column, bounds).scan().filter(inside(mart.window.column, bounds))
    return near.select(list(spec(mart).schema)).collect().sort(mart.grain)


def differing(standing: pl.DataFrame, rows: pl.DataFrame) -> tuple[int, int]:
    """How many rows of each the other does not have; a row whose numbers changed counts in both."""
    columns = rows.columns
    gone = standing.join(rows, on=columns, how="anti", nulls_equal=True).height
    return gone, rows.join(standing, on=columns, how="anti", nulls_equal=True).height


def _replaced(
    below: Sequence[MartInput], mart: MartContract, have: Mapping[str, int | None], changed: Mapping[str, Changed]
) -> list[pl.Series] | None:
    """Starts of windows that hold rows of replaced windows of the marts below; None where these cannot be told."""
    found = []
    for item in below:
        seen = have[f"gold:{item.mart.name}"]
        if seen == item.commits:
            continue
        news = changed.get(item.mart.name)
        if news is None or news.starts is None or (news.before, news.after) != (seen, item.commits):
            return None
        found.append(window.starts(news.starts, mart.window))
    return found


def _touched(
    inputs: Sequence[Input],
    mart: MartContract,
    have: Mapping[str, int | None],
    rewritten: Rewritten | None,
    replaced: Sequence[pl.Series],
) -> pl.Series:
    """Starts of all windows that hold rows the mart has not seen, and of those a rebuild or a mart below touched."""
    found = [pl.Series([], dtype=pl.Datetime("us", "UTC")), *replaced]
    if rewritten is not None and mart.name in rewritten.touched:
        found.append(rewritten.touched[mart.name])
    for item in inputs:
        unseen = item.unseen(have)
        if unseen is not None:
            times = unseen.select(pl.col(item.time_field).unique()).collect().to_series()
            found.append(window.starts(times, mart.window, item.lookback))
    return pl.concat(found).unique().sort()
