"""Fill in what rows of silver are missing: their enrichment's source was not there when they came, and is now.

A silver table records from when on rows may be missing an enrichment (`enrich.missing_id`), so a table that misses nothing
costs one look at its log, and one that does is read from there on, two columns wide, up to the first slice that has
anything to fill. A slice is replaced in one commit, which counts a rewrite; the windows of its rows are for `gold.refresh`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics_platform import gold, silver
from analytics_platform.contract.model import Enrichment, EventContract
from analytics_platform.enrich import Sources
from analytics_platform.enrich.answer import State, taken_schema
from analytics_platform.enrich.missing import COMPLETE, from_ms, missing_id, to_ms
from analytics_platform.enrich.rows import with_answer
from analytics_platform.lake.commit import Change, Move, commit
from analytics_platform.lake.files import Pinned, Snapshot, overlap_sql
from analytics_platform.window import Span

_MOST_INSTANTS = 64
"""Micro-batches of one slice, so that its predicate stays short."""
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
NOTHING_BEFORE: Mapping[str, datetime] = {}
"""No pass went before."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What one pass did."""

    rows: Mapping[str, int]
    """Rows filled, by `event.enrichment`."""
    unknown: Mapping[str, int]
    """Those of them whose key the source does not know, likewise."""
    rewritten: gold.Rewritten
    """For `gold.refresh`, which has to be told at once: a mart that is not starts over."""
    stuck: bool
    """Whether nothing could be filled although the sources seemed to be there: to ask again at once is of no use."""
    after: Mapping[str, datetime]
    """Where the next pass goes on, by event type: rows that stay missing do not hold up those that came after them."""


def fill(
    sources: Sources, *, max_rows: int, now: datetime, after: Mapping[str, datetime] = NOTHING_BEFORE
) -> Filled | None:
    """Fill one slice of every silver table that has rows to fill and whose source is there; None where there is nothing to do.

    Args:
        sources: What a domain is enriched from, and its lake.
        max_rows: About so many rows of a table are replaced at once; a whole micro-batch is never split.
        now: In UTC; since when the rows have what they get.
        after: Where the pass before went to; from the beginning where it says nothing.

    Durable on return: the slices.
    If it dies halfway: some tables are filled so far and some are not; the next pass goes on. Marts over a table that was
    filled start over.
    """
    lake, domain = sources.lake, sources.domain
    work = _Fill(sources, max_rows, now, after)
    names = [name for name in dict.fromkeys(event.name for event in domain.events) if work.open(name)]
    if not names:
        return None
    before = silver.rewrites(lake, domain)
    for name in names:
        work.slice_of(name)
    own = {name: count + work.commits[name] for name, count in before.items()}
    touched = {name: pl.concat(parts).unique().sort() for name, parts in work.touched.items()}
    stuck = work.held_up and not any(work.rows.values())
    return Filled(dict(+work.rows), dict(+work.unknown), gold.Rewritten(touched, before, own), stuck, work.next)


@dataclass(slots=True)
class _Fill:
    source: Sources
    max_rows: int
    now: datetime
    after: Mapping[str, datetime]
    next: dict[str, datetime] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    commits: Counter[str] = field(default_factory=Counter)
    touched: dict[str, list[pl.Series]] = field(default_factory=dict)
    held_up: bool = False

    def open(self, name: str) -> bool:
        """Whether a table may have rows to fill, as far as its log tells."""
        versions = self.source.domain.versions_of(name)
        if not silver.newest(versions).enrichments:
            return False
        table = self.source.lake.newest(silver.spec(versions))
        return table is not None and bool(self._open(Pinned(table), silver.newest(versions)))

    def _open(self, table: Pinned, contract: EventContract) -> list[tuple[Enrichment, int]]:
        """The enrichments that rows may be missing and that can be asked for, and from which `_ingested_at` on, in ms."""
        marks = [(item, table.progress(missing_id(item)) or 0) for item in contract.enrichments]
        return [(item, mark) for item, mark in marks if mark != COMPLETE and self.source.there(item)]

    def slice_of(self, name: str) -> None:
        """Fill the first slice of a table that is missing anything."""
        versions = self.source.domain.versions_of(name)
        contract = silver.newest(versions)
        done = _Slice(pl.DataFrame(), {}, {}, lacks=False)

        def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
            nonlocal done
            del left
            done = _Slice(pl.DataFrame(), {}, {}, lacks=False)
            marks = self._open(table, contract)
            if not marks:
                return None
            wanted = [item for item, _ in marks]
            snapshot = table.snapshot()
            begin = from_ms(min(mark for _, mark in marks))
            start = max(begin, self.after.get(name, begin))
            lacking, end = _first_lacking(snapshot, wanted, start, self.max_rows)
            instants = _slice(lacking, self.max_rows)
            near = snapshot.touching("_ingested_at", [(at, at + _MS) for at in instants]).scan()
            standing = near.filter(pl.col("_ingested_at").is_in(instants)).collect()
            done = self._filled(standing, wanted)
            # Of rows before the start some are still missing theirs.
            progress = _progress(marks, lacking, instants, done.rows, end) if start == begin else {}
            self.next.pop(name, None)
            if instants and (start > begin or done.lacks):
                self.next[name] = instants[-1] + _MS
            if not any(done.counts.values()):
                self.held_up |= bool(instants) or start > begin
                return Change(standing.clear(), progress=progress) if progress else None
            progress[silver.REWRITES] = (table.progress(silver.REWRITES) or 0) + 1
            replaces = overlap_sql("_ingested_at", [(at, at + _MS) for at in instants])
            return Change(done.rows, replaces=replaces, progress=progress, metadata={"filled": ", ".join(done.counts)})

        commit(self.source.lake, silver.spec(versions), change)
        if not any(done.counts.values()):
            return
        self.commits[name] += 1
        self.rows.update({f"{name}.{item}": count for item, count in done.counts.items()})
        self.unknown.update({f"{name}.{item}": count for item, count in done.unknown.items()})
        for mart in self.source.domain.marts:
            if name in mart.silver_inputs:
                self.touched.setdefault(mart.name, []).append(gold.touched_by(done.changed, name, mart))

    def _filled(self, standing: pl.DataFrame, wanted: Sequence[Enrichment]) -> "_Slice":
        """The rows of a slice with what can be had for those that are missing it."""
        counts, unknown, has_more = {}, {}, False
        rows = standing.with_row_index("_place")
        is_changed = pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
        for item in wanted:
            lacks = rows.filter(pl.col(item.enriched_at).is_null())
            answer = self.source.answered(lacks, item)
            got = with_answer(lacks, item, answer, self.now).filter(pl.col(item.enriched_at).is_not_null())
            counts[item.name] = got.height
            unknown[item.name] = int((answer.states == State.UNKNOWN).sum())
            has_more |= got.height < lacks.height
            rows = rows.update(got.select("_place", *taken_schema(item), item.enriched_at), on="_place")
            is_changed |= rows["_place"].is_in(got["_place"].implode())
        rows = rows.drop("_place")
        return _Slice(rows, counts, unknown, has_more, rows.filter(is_changed))


@dataclass(frozen=True, slots=True)
class _Slice:
    """Whole micro-batches of a table, filled as far as it goes."""

    rows: pl.DataFrame
    counts: Mapping[str, int]
    """Rows filled, by enrichment."""
    unknown: Mapping[str, int]
    lacks: bool
    """Whether some of its rows are still missing something."""
    changed: pl.DataFrame = field(default_factory=pl.DataFrame)


def _first_lacking(
    snapshot: Snapshot, wanted: Sequence[Enrichment], start: datetime, max_rows: int
) -> tuple[pl.DataFrame, datetime | None]:
    """The micro-batches from `start` on that are missing anything, of the first span that has any, and where that ends.

    Columns: `_ingested_at`, `rows`, and for each enrichment by its name whether some row is missing it. The end is None
    where the table has nothing beyond.
    """
    spans = _spans(snapshot.touching("_ingested_at", [(start, _LAST)]), start, max_rows)
    for span in spans:
        near = snapshot.touching("_ingested_at", [span]).scan()
        within = near.filter((pl.col("_ingested_at") >= span[0]) & (pl.col("_ingested_at") < span[1]))
        lacking = within.group_by("_ingested_at").agg(
            pl.len().alias("rows"), *(pl.col(item.enriched_at).is_null().any().alias(item.name) for item in wanted)
        )
        found = lacking.filter(pl.any_horizontal(item.name for item in wanted)).sort("_ingested_at").collect()
        end = None if span == spans[-1] else span[1]
        if found.height or end is None:
            return found, end
    raise AssertionError("there is always a last span")


def _spans(snapshot: Snapshot, start: datetime, max_rows: int) -> list[Span]:
    """Cut the time from `start` on where files begin, so that about so many rows lie between; the last span has no end."""
    if "min._ingested_at" not in snapshot.files.columns or snapshot.files["min._ingested_at"].null_count():
        return [(start, _LAST)]
    edges, rows = [start], 0
    for at, count in snapshot.files.sort("min._ingested_at").select("min._ingested_at", "num_records").iter_rows():
        if rows >= max_rows and at > edges[-1]:
            edges.append(at)
            rows = 0
        rows += count
    return list(zip(edges, [*edges[1:], _LAST], strict=True))


def _slice(lacking: pl.DataFrame, max_rows: int) -> list[datetime]:
    """The first micro-batches that are missing anything: one at least, and no more than so many rows together."""
    fits = (pl.col("rows").cum_sum() <= max_rows) | (pl.int_range(pl.len()) == 0)
    return lacking.filter(fits).head(_MOST_INSTANTS)["_ingested_at"].to_list()


def _progress(
    marks: Sequence[tuple[Enrichment, int]],
    lacking: pl.DataFrame,
    instants: Sequence[datetime],
    rows: pl.DataFrame,
    end: datetime | None,
) -> dict[str, int]:
    """From when on rows may be missing each enrichment once the slice is filled; only what is news."""
    progress = {}
    for item, have in marks:
        later = lacking.filter(pl.col(item.name) & ~pl.col("_ingested_at").is_in(list(instants)))["_ingested_at"].min()
        still = rows.filter(pl.col(item.enriched_at).is_null())["_ingested_at"].min()
        left = [at for at in (later, still) if isinstance(at, datetime)]
        if not left and end is not None:
            left = [end]
        mark = max(have, to_ms(min(left))) if left else COMPLETE
        if mark != have:
            progress[missing_id(item)] = mark
    return progress
