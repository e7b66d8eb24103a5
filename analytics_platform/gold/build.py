"""A mart computed from all history, slice by slice, beside the table that people read.

What is built stands in a table of its own, `building/<mart>_<digest of its contract>`, which nobody sees. Each commit
there adds the windows of one slice, brings those that are built up to date with what has come since, and records both in
its `txn` actions: what it was computed from, as a mart does, and until where it is built. So whoever dies, the next one
goes on there, and the stream waits for a slice and no longer.

When all is built, one commit makes the files of that table those of the mart, with all that they were computed from. Then
the other table is emptied.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum

import polars as pl

from analytics_platform import bronze, silver, watermark, window
from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.contract.schema import INSTANT
from analytics_platform.gold import finality
from analytics_platform.gold.refresh import CONTRACT, Changed, Rewritten, contract_number, starts_of, state_of
from analytics_platform.gold.rows import rows_of
from analytics_platform.gold.slicing import Slice, next_slice, rows_in
from analytics_platform.gold.source import Logs
from analytics_platform.gold.table import kind, spec
from analytics_platform.kafka.offsets import Log
from analytics_platform.lake.commit import TOKEN, Change, Move, commit
from analytics_platform.lake.erase import sweep
from analytics_platform.lake.files import Pinned, Snapshot, merged, overlap_sql
from analytics_platform.lake.table import BUILDING, Lake, TableSpec
from analytics_platform.report import BuildReport, MartReport

_PHASE, _UNTIL, _BUILT, _ALL = "phase", "until", "built", "all"
"""Application ids of the table beside a mart: what is going on there, until where it is built (microseconds since 1970),
and how many rows of the inputs that took, of how many."""
_NONE, _AT_WORK, _COMPLETE, _EMPTIED = range(4)
"""Phases: nothing there; slices are missing; none is; the rows are gone and their files are not."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How large a slice is, and how long to be at work."""

    rows: int = 100_000
    """Rows of the inputs in one slice; a window is the least."""
    budget: timedelta | None = None
    """After so long no further slice is begun; None ends with the last one."""


UNHURRIED = Pace()


class Aside(Enum):
    """Why a mart is better brought up to date as any other, at once."""

    UNCUT = "no predicate can name some of its windows, which lie at the ends of the calendar"
    OVERTAKEN = "somebody else has built it"


@dataclass(slots=True)
class Build:
    """One mart at work, beside its table."""

    lake: Lake
    domain: Domain
    mart: MartContract
    logs: Logs
    rewritten: Rewritten | None
    changed: dict[str, Changed]
    most_rows: int
    began: float = field(default_factory=time.perf_counter)
    slices: int = 0
    largest: int = 0

    def go_on(self, deadline: float | None) -> MartReport | BuildReport | Aside:
        """Build slices until the deadline (`time.perf_counter`), at least one; the mart's report once it stands.

        Durable on return: the slices, or the mart.
        If it dies halfway: the mart is as it was, and whoever comes next goes on behind the last slice.

        Raises:
            MartBroken: the mart's SQL fails or its result does not fit its contract; the slices before stand.
            SchemaChanged: a silver table's column has another type than its contract.
        """
        spare = self.rewritten
        while True:
            if not self._step(spare):
                return Aside.UNCUT
            spare = None  # those windows are mended now
            built = self._shadow()
            if built.progress(_PHASE) == _COMPLETE:
                swapped = self._swap()
                if swapped is not None:
                    return swapped
            if deadline is not None and time.perf_counter() >= deadline:
                return replace(standing(built, self.mart), slices=self.slices, most_rows=self.largest)

    def _shadow(self) -> Pinned:
        return Pinned(self.lake.ensure(shadow(self.mart)))

    def _step(self, rewritten: Rewritten | None) -> bool:
        """Bring what is built up to date, and build one slice more, in one commit; whether slices can be cut."""
        mart = self.mart
        part: Slice | None = None

        def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
            nonlocal part
            del left
            state = state_of(table, self.lake, self.domain, mart, self.logs, rewritten=rewritten)
            phase = table.progress(_PHASE)
            at_work = phase in {_AT_WORK, _COMPLETE}
            starts = starts_of(table, mart, state, rewritten, self.changed) if at_work else None
            if starts is None:  # from the beginning
                until, touched, built = None, pl.Series([], dtype=INSTANT), 0
            else:
                until, built = watermark.instant(table.progress(_UNTIL)), table.progress(_BUILT) or 0
                # What has come for windows that are not built yet is found when they are.
                touched = starts if phase == _COMPLETE else starts.filter(starts < until)
            is_whole = starts is not None and phase == _COMPLETE
            if is_whole and all(state.have[name] == number for name, number in state.progress.items()):
                part = None
                return None
            part = None if is_whole else next_slice(state.sources, mart, until, self.most_rows)
            spans = window.ranges(touched, mart.window)
            if part is not None:
                if part.starts is None:
                    return None
                spans.append(part.starts)
                until, built = part.starts[1], built + part.rows
            covered = merged(spans, most=window.MOST_RANGES)
            late = finality.late(state.final, covered)
            without = late.places if mart.window.keeps else None
            rows = rows_of(self.domain, mart, state.sources, covered, without=without)
            rows = finality.stamped(rows, mart, state.final, late)
            is_whole, all_rows = part is None or part.is_last, rows_in(state.sources)
            progress = state.progress | {
                _PHASE: _COMPLETE if is_whole else _AT_WORK,
                _UNTIL: 0 if until is None else watermark.number(until),
                _BUILT: all_rows if is_whole else min(built, all_rows),
                _ALL: all_rows,
            }
            if starts is None:
                return Change(rows, replaces_all=True, progress=progress)
            if not covered:
                return Change(rows, progress=progress)
            bounds = window.bounds(covered, mart.window.timezone, kind(mart))
            return Change(rows, replaces=overlap_sql(mart.window.column, bounds), progress=progress)

        commit(self.lake, shadow(mart), change)
        if part is not None and part.starts is None:
            return False
        if part is not None:
            self.slices, self.largest = self.slices + 1, max(self.largest, part.rows)
        return True

    def _swap(self) -> MartReport | Aside | None:
        """Make what is built the mart; None where what it rests on has changed in this moment."""
        mart = self.mart
        before = windows = removed = added = 0
        is_overtaken = False

        def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
            nonlocal before, windows, removed, added, is_overtaken
            del left
            built, now = self._shadow(), table.snapshot()
            state = state_of(built, self.lake, self.domain, mart, self.logs, rewritten=None)
            theirs = state_of(table, self.lake, self.domain, mart, self.logs, rewritten=self.rewritten)
            fits = all(now.schema.get(name) == one for name, one in built.snapshot().schema.items())
            is_overtaken = fits and starts_of(table, mart, theirs, self.rewritten, self.changed) is not None
            if is_overtaken or built.progress(_PHASE) != _COMPLETE or state.stale:
                return None
            files = built.snapshot()
            windows = files.scan().select(pl.col(mart.window.column).n_unique()).collect().item()
            if self.rewritten is not None:
                removed, added = _differing(now, files) if fits else (now.rows, files.rows)
            before = table.progress(TOKEN) or 0
            done = {name: number for name, number in state.have.items() if number is not None}
            return Change(pl.DataFrame(schema=files.schema), adopts=files, progress=done)

        committed = commit(self.lake, spec(mart), change, recast=True).change
        if committed is None or committed.adopts is None:
            return Aside.OVERTAKEN if is_overtaken else None
        self.changed[mart.name] = Changed(before, before + 1, None)
        rows, seconds = committed.adopts.rows, time.perf_counter() - self.began
        return MartReport(mart.name, windows, rows, seconds, removed=removed, added=added)


def shadow(mart: MartContract) -> TableSpec:
    """The table in which a mart is built: of one contract, so that another one's has other columns in peace."""
    return replace(spec(mart), layer=BUILDING, name=f"{mart.name}_{mart.header.digest[:15]}")


def standing(table: Pinned, mart: MartContract) -> BuildReport:
    """How far the table beside a mart has come."""
    numbers = (table.progress(name) or 0 for name in (_BUILT, _ALL, _UNTIL))
    built, all_rows, until = numbers
    return BuildReport(mart.name, built, all_rows, watermark.instant(until) if built else None)


def builds(lake: Lake, domain: Domain) -> list[BuildReport]:
    """How far those marts of a domain have come that are being built from history, or will be by the next burst.

    Looks at the tables of the marts only: what else makes a mart start over is found by whoever brings it up to date.
    """
    found = (_build_of(lake, domain, mart) for mart in domain.marts)
    return [report for report in found if report is not None]


def _build_of(lake: Lake, domain: Domain, mart: MartContract) -> BuildReport | None:
    table = lake.newest(shadow(mart)) if lake.path(shadow(mart)).is_dir() else None
    if table is not None and table.transaction_version(_PHASE) in {_AT_WORK, _COMPLETE}:
        return standing(Pinned(table), mart)
    table = lake.newest(spec(mart))
    if table is None:  # new, on old data
        inputs = (lake.newest(silver.spec(domain.versions_of(name))) for name in mart.silver_inputs)
        is_stale = any(one is not None and Snapshot.of(one).rows for one in inputs)
    else:
        is_stale = table.transaction_version(CONTRACT) != contract_number(mart)
    return BuildReport(mart.name, 0, 0, None) if is_stale else None


def clear(lake: Lake, mart: MartContract, *, but: TableSpec | None = None) -> None:
    """Empty the tables beside a mart, but for one, and delete their files.

    Durable on return: they hold nothing. Their folders and logs stay, so that no process that still has one open could
    make half a table of it.
    If it dies halfway: calling again does the rest.
    """
    for spec_ in _shadows(lake, mart):
        if but is None or spec_.name != but.name:
            _clear(lake, spec_)


def _shadows(lake: Lake, mart: MartContract) -> Iterator[TableSpec]:
    folder = lake.root / BUILDING
    if folder.is_dir():
        for path in sorted(folder.glob(f"{mart.name}_*")):
            if re.fullmatch(rf"{re.escape(mart.name)}_[0-9a-f]{{15}}", path.name):
                yield TableSpec(BUILDING, path.name, {}, ())


def _clear(lake: Lake, of: TableSpec) -> None:
    table = lake.newest(of)
    phase = _NONE if table is None else table.transaction_version(_PHASE) or _NONE
    if phase == _NONE:
        return

    def change(pinned: Pinned, left: tuple[Move, ...]) -> Change | None:
        del left
        if (pinned.progress(_PHASE) or _NONE) in {_NONE, _EMPTIED}:
            return None
        return Change(pl.DataFrame(schema=pinned.snapshot().schema), replaces_all=True, progress={_PHASE: _EMPTIED})

    def settle(pinned: Pinned, left: tuple[Move, ...]) -> Change | None:
        del left
        if pinned.progress(_PHASE) != _EMPTIED:
            return None
        return Change(pl.DataFrame(schema=pinned.snapshot().schema), progress={_PHASE: _NONE})

    commit(lake, of, change)
    sweep(lake, of)
    commit(lake, of, settle)


def _differing(standing: Snapshot, built: Snapshot) -> tuple[int, int]:
    """How many rows of each the other does not have; a row whose numbers changed counts in both."""
    columns = list(built.schema)
    one, other = standing.scan().select(columns), built.scan()

    def missing(left: pl.LazyFrame, right: pl.LazyFrame) -> int:
        rows = left.join(right, on=columns, how="anti", nulls_equal=True).select(pl.len())
        return int(rows.collect(engine="streaming").item())

    return missing(one, other), missing(other, one)


def known_logs(lake: Lake, domain: Domain, mart: MartContract, logs: Logs) -> Logs:
    """The logs of a mart's inputs, those that nobody named as bronze knows them: a build must know how far it has read."""
    found = dict(logs)
    for topic in {domain.versions_of(name)[0].topic for name in mart.silver_inputs} - set(logs):
        log_id = bronze.last_log_id(lake, topic)
        if log_id is not None:
            log = Log(topic, log_id)
            found[topic] = (log, sorted(bronze.first_offsets(lake, log)))
    return found
