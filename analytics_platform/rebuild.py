"""Make silver and gold again from bronze, for some hours of ingestion.

Every slice of bronze is judged anew and compared with what silver and the quarantine hold of it. Where nothing differs
nothing is written, so a rebuild without a reason leaves the same tables, to the byte. Where something does, the slice is
replaced in one commit that also counts a rewrite, so that a mart which has not seen it starts over if this run dies
before it gets there.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from analytics_platform import bronze, derive, erasure, gold, quarantine, silver, watermark
from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.enrich import Sources, enriched, missing_marks, remembering
from analytics_platform.errors import LakeError
from analytics_platform.judge import Judged, judge
from analytics_platform.keyring import KeyRing
from analytics_platform.lake.commit import Change, Move, commit
from analytics_platform.lake.files import Pinned, Snapshot, overlap_sql, places_sql
from analytics_platform.lake.table import Lake
from analytics_platform.lookup.lookups import Lookups
from analytics_platform.refetch import refetch
from analytics_platform.report import RebuildReport
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import Settings

LAYERS = frozenset({"silver", "gold"})
"""What is made again unless said otherwise; the quarantine belongs to silver."""

Span = tuple[datetime, datetime]


def rebuild(
    domain: Domain,
    settings: Settings,
    start: datetime,
    end: datetime,
    *,
    layers: frozenset[str] = LAYERS,
    clock: Callable[[], datetime],
    by: str = "rebuild",
    on_slice: Callable[[str], None] = lambda _line: None,
) -> RebuildReport:
    """Make the selected layers again for records ingested in `[start, end)`, from the layer above each.

    `bronze` among the layers verifies bronze against the ranges its commits recorded, and fetches again what is missing
    while Kafka still holds it. Memory is bounded by the micro-batch, whatever the number of hours.

    Args:
        domain: Whose tables.
        settings: Where everything is, and how large a slice may be.
        start: UTC, inclusive.
        end: UTC, exclusive.
        layers: Of bronze, silver, gold.
        clock: The time in UTC.
        by: Who is at work, for rows of the quarantine whose status changes.
        on_slice: Called with a readable line after each slice.

    Durable on return: the hours of every selected layer are what the layer above says.
    If it dies halfway: some slices are mended, each of them whole; running again does the rest.

    Raises:
        MartBroken: a mart cannot be made again; everything else was.
        SchemaChanged: a table's column has another type than its contract.
        BronzeIncomplete: records are missing and Kafka cannot give them back.
        KeyMissing: contracts name keys that the settings do not have; nothing was changed.
        RegistryError: the schemas of some values cannot be had; slices before them are mended.
    """
    # Rows were ingested at whole milliseconds: the same rows lie between bounds moved up to the next one.
    keys = derive.key_ring(domain, settings)
    lake = Lake(settings.lake, settings.fsync)
    book = SchemaBook(lake, domain.name, settings.registry)
    lookups = Lookups(settings.lookups)
    work = _Rebuild(
        domain, settings, (_whole_ms(start), _whole_ms(end)), clock, by, on_slice, lake, keys, book, lookups
    )
    began = clock()
    if "bronze" in layers:
        for topic in domain.topics:
            fetched = refetch(work.lake, topic, settings, (start, end))
            work.added[bronze.spec(topic).title] += fetched
            if fetched:
                on_slice(f"{topic}: {fetched:,} records were missing from bronze and were fetched again")
    before = silver.rewrites(work.lake, domain)
    if "silver" in layers:
        with book, lookups:
            for topic in domain.topics:
                work.silver_of(topic)
    if "gold" in layers:
        work.gold(before)
    return RebuildReport(
        domain=domain.name,
        start=start,
        end=end,
        records=work.records,
        removed=dict(work.removed),
        added=dict(work.added),
        rows=dict(work.rows),
        windows=dict(work.windows),
        took=clock() - began,
    )


@dataclass(slots=True)
class _Rebuild:
    domain: Domain
    settings: Settings
    hours: Span
    clock: Callable[[], datetime]
    by: str
    on_slice: Callable[[str], None]
    lake: Lake
    keys: KeyRing
    book: SchemaBook
    lookups: Lookups
    records: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    windows: Counter[str] = field(default_factory=Counter)
    touched: dict[str, list[pl.Series]] = field(default_factory=dict)
    rewrites: Counter[str] = field(default_factory=Counter)

    def silver_of(self, topic: str) -> None:
        """Mend quarantine and silver of one topic, slice by slice."""
        for span in slices(self.lake, topic, self.hours, self.settings.batch_rows):
            records = records_within(self.lake, topic, span)
            self.records += records.height
            contracts = self.domain.events_of(topic)
            judged = judge(records, contracts, self.keys, self.book.of(records, contracts))
            judged = enriched(judged, self.domain, Sources(self.lake, self.domain, self.lookups), self.clock()).judged
            good = judged.good_but(self._mend_quarantine(topic, span, records, judged))
            for name in self.domain.event_types_of(topic):
                self._mend_silver(name, span, good)
            self.on_slice(f"{topic} {span[0]:%Y-%m-%dT%H:%M:%S}..{span[1]:%H:%M:%S}: {records.height:,} records judged")

    def _mend_quarantine(self, topic: str, span: Span, records: pl.DataFrame, judged: Judged) -> pl.DataFrame:
        """Returns what the quarantine has as discarded; only rows that are `new` can be, so nothing good joins them."""
        spec = quarantine.spec(self.domain.name)
        now = self.clock()
        digest = derive.contracts_digest(self.domain.events_of(topic))
        wanted_all = quarantine.rows(records, judged.rejected, digest, now)
        good = judged.good_coordinates().with_columns(topic=pl.lit(topic))
        counts = (0, 0, 0)
        discarded = quarantine.discarded(wanted_all.clear())

        def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
            nonlocal counts, discarded
            del left
            near = table.snapshot().touching("ingested_at", [span]).scan()
            standing = near.filter(_within("ingested_at", span) & (pl.col("topic") == topic)).collect()
            standing = standing.sort(quarantine.KEY)
            wanted = derive.taken(table, wanted_all, topic, bronze.PLACE)
            # Also what was forgotten after these records were read: the erasure commits here after it did to bronze.
            wanted = wanted.join(bronze.forgotten(self.lake, topic), on=bronze.PLACE, how="anti", maintain_order="left")
            settled = quarantine.settled(standing, wanted, good, now, self.by)
            discarded = quarantine.discarded(settled)
            # A row that got other reasons or another status counts in both.
            before, after = (rows.select(*quarantine.KEY, "codes", "reasons", "status") for rows in (standing, settled))
            gone = before.height - before.join(after, on=before.columns, how="semi", nulls_equal=True).unique().height
            new = after.join(before, on=before.columns, how="anti", nulls_equal=True).height
            counts = (gone, new, settled.height)
            if settled.equals(standing):
                return None
            quoted = topic.replace("'", "''")
            return Change(settled, replaces=f"topic = '{quoted}' AND {overlap_sql('ingested_at', [span])}")

        commit(self.lake, spec, change)
        self._count(spec.title, *counts)
        return discarded

    def _mend_silver(self, name: str, span: Span, valid: Mapping[str, pl.DataFrame]) -> None:
        versions = self.domain.versions_of(name)
        spec, contract = silver.spec(versions), silver.newest(versions)
        good = valid.get(name, pl.DataFrame(schema=spec.schema))
        changed: tuple[pl.DataFrame, pl.DataFrame, int] = (good.clear(), good.clear(), 0)

        def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
            nonlocal changed
            del left
            snapshot = table.snapshot()
            columns = list(snapshot.schema)
            near = snapshot.touching("_ingested_at", [span]).scan()
            standing = (
                near.filter(_within("_ingested_at", span)).collect().sort(*silver.ORDER, "_topic_id", *columns[:1])
            )
            taken = derive.taken(table, good, contract.topic, silver.PLACE)
            # Also what was forgotten after these records were read, under contracts that did not know its key.
            erased = bronze.forgotten(self.lake, contract.topic).rename(
                dict(zip(bronze.PLACE, silver.PLACE, strict=True))
            )
            taken = taken.join(erased, on=silver.PLACE, how="anti", maintain_order="left")
            # Later hours of this rebuild are mended after this one, by what stands here then: they don't count yet.
            after = (span[1], self.hours[1])
            gone = erasure.forgotten(self.lake, self.domain.name, name, self.keys)
            earlier = ~_within("_ingested_at", (span[0], after[1]))
            split = silver.split(taken, contract, snapshot, beside=earlier, forgotten=gone)
            overtaken = silver.split(split.kept, contract, snapshot, beside=_within("_ingested_at", after)).duplicates
            replaces = overlap_sql("_ingested_at", [span])
            if overtaken.height:  # their later copies go in the same commit, so that no key stands there twice
                later = snapshot.touching("_ingested_at", [after]).scan().filter(_within("_ingested_at", after))
                copies = later.join(overtaken.select("idempotency_key").lazy(), on="idempotency_key", how="semi")
                standing = pl.concat([standing, copies.collect()])
                # By where they stand: a predicate is recorded with the commit, and a producer's key may be anything.
                places = places_sql(copies.collect(), silver.PLACE)
                replaces = f"({replaces} OR ({overlap_sql('_ingested_at', [after])} AND {places}))"
            kept = watermark.remembered(remembering(split.kept, standing, contract), snapshot, standing)
            wanted = kept.select(pl.col(item).cast(snapshot.schema[item]) for item in columns if item in kept)
            wanted = wanted.sort(*silver.ORDER, "_topic_id", *columns[:1])
            same = standing.select(wanted.columns).equals(wanted)
            changed = (good.clear(), good.clear(), wanted.height)
            if same:
                return None
            changed = (*_difference(standing.select(wanted.columns), wanted), wanted.height)
            rewrites = (table.progress(silver.REWRITES) or 0) + 1
            progress = missing_marks(table, kept, contract) | {silver.REWRITES: rewrites}
            return Change(kept, replaces=replaces, progress=progress)

        if commit(self.lake, spec, change).change is not None:
            self.rewrites[name] += 1
        removed, added, rows = changed
        self._count(spec.title, removed.height, added.height, rows)
        for mart in self.domain.marts:
            if name in mart.silver_inputs:
                found = [gold.touched_by(part, name, mart) for part in (removed, added)]
                self.touched[mart.name] = [*self.touched.get(mart.name, []), *found]

    def gold(self, before: dict[str, int]) -> None:
        """Recompute the windows that the hours' rows fall into, and those that lost or gained rows."""
        touched = {}
        for mart in self.domain.marts:
            parts = [pl.Series([], dtype=pl.Datetime("us", "UTC")), *self.touched.get(mart.name, [])]
            parts += [self._window_starts(name, mart) for name in mart.silver_inputs]
            touched[mart.name] = pl.concat(parts).unique().sort()
        rewritten = gold.Rewritten(
            touched, before, {name: count + self.rewrites[name] for name, count in before.items()}
        )
        broken: LakeError | None = None
        for done in gold.refresh(self.lake, self.domain, {}, rewritten=rewritten):
            broken, report, title = broken or done.error, done.report, gold.spec(done.mart).title
            if report is not None:
                self.windows[title] += report.windows
                self._count(title, report.removed, report.added, report.rows)
        if broken is not None:
            raise broken

    def _window_starts(self, name: str, mart: MartContract) -> pl.Series:
        table = self.lake.newest(silver.spec(self.domain.versions_of(name)))
        if table is None:
            return pl.Series([], dtype=pl.Datetime("us", "UTC"))
        near = Snapshot.of(table).touching("_ingested_at", [self.hours]).scan()
        column = pl.col(mart.window.time_fields[name])
        times = near.filter(_within("_ingested_at", self.hours)).select(column.unique()).collect()
        return gold.touched_by(times, name, mart)

    def _count(self, title: str, removed: int, added: int, rows: int) -> None:
        self.removed[title] += removed
        self.added[title] += added
        self.rows[title] += rows


def slices(lake: Lake, topic: str, hours: Span, max_rows: int) -> Iterator[Span]:
    """Cut the hours into spans that hold about `max_rows` records each, without splitting a micro-batch.

    The spans follow each other without a gap, so that rows that should not be there lie in one of them too.
    """
    table = lake.newest(bronze.spec(topic))
    if table is None:
        return
    near = Snapshot.of(table).touching("ingested_at", [hours]).scan()
    batches = near.filter(_within("ingested_at", hours)).group_by("ingested_at").len().sort("ingested_at").collect()
    start, rows = hours[0], 0
    for at, count in batches.iter_rows():
        if rows and rows + count > max_rows:
            yield start, at
            start, rows = at, 0
        rows += count
    yield start, hours[1]


def records_within(lake: Lake, topic: str, span: Span) -> pl.DataFrame:
    """The bronze records of a span, each once, in the order they came in."""
    table = lake.newest(bronze.spec(topic))
    if table is None:
        return pl.DataFrame(schema=bronze.SCHEMA)
    near = Snapshot.of(table).touching("ingested_at", [span]).scan()
    found = near.filter(_within("ingested_at", span) & pl.col("gap_end").is_null()).collect()
    # A record that stands there twice is damage of another kind; judge it once.
    return found.unique(["topic_id", "partition", "offset"], keep="first").sort("ingested_at", "partition", "offset")


def _whole_ms(at: datetime) -> datetime:
    return bronze.instant(at + timedelta(microseconds=999))


def _within(column: str, span: Span) -> pl.Expr:
    return (pl.col(column) >= span[0]) & (pl.col(column) < span[1])


def _difference(standing: pl.DataFrame, wanted: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to take away and rows to add, as multisets of whole rows."""
    columns = wanted.columns
    counts = (
        pl.concat([standing.with_columns(_n=pl.lit(1)), wanted.with_columns(_n=pl.lit(-1))])
        .group_by(columns, maintain_order=True)
        .agg(pl.col("_n").sum())
    )
    removed = counts.filter(pl.col("_n") > 0).select(pl.exclude("_n").repeat_by("_n").explode())
    added = counts.filter(pl.col("_n") < 0).select(pl.exclude("_n").repeat_by(-pl.col("_n")).explode())
    return removed, added
