"""What becomes of quarantined rows: judge some of them again, or give them up.

    selected rows ── decode ── check ──┬── still bad ──> stay in quarantine, with today's reasons
                                       └── good ───────> `replayed` in quarantine, then silver, then gold

The bytes are the quarantine's own. Quarantine commits before silver, as everywhere, and whether a row belongs into
silver is decided in the quarantine's commit; so no row can be discarded and enter, whoever else is at work. A run that
dies between the two leaves rows `replayed` that silver does not have, which is why a replay always looks at `replayed`
rows too: running it again brings them in, and finds nothing to do where nothing is missing.

A row that enters late lies far below silver's progress, which stays where it is. Silver counts a rewrite instead, as
after a rebuild, so that a mart which has not seen it starts over.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from analytics_platform import bronze, derive, erasure, gold, quarantine, silver, watermark
from analytics_platform.contract.model import Domain
from analytics_platform.contract.schema import PATCH
from analytics_platform.enrich import Sources, enriched, missing_marks
from analytics_platform.errors import LakeError
from analytics_platform.judge import Judged, judge
from analytics_platform.keyring import KeyRing
from analytics_platform.lake.commit import Change, Move, commit
from analytics_platform.lake.files import Pinned, Snapshot, places_sql
from analytics_platform.lake.table import Lake
from analytics_platform.lookup.lookups import Lookups
from analytics_platform.quarantine import DISCARDED, KEY, NEW, REPLAYED
from analytics_platform.report import DiscardReport, ReplayReport, counted
from analytics_platform.schema_book import SchemaBook
from analytics_platform.selection import Portion, Selection, portions
from analytics_platform.settings import Settings

_RECORD = [name for name in bronze.SCHEMA if name in quarantine.SCHEMA]
_PLACE = {"_topic_id": "topic_id", "_partition": "partition", "_offset": "offset"}
_MOST_KEYS = 1_000
"""Keys in one predicate: DataFusion takes each for an expression of its own, and tens of thousands overflow its stack."""


def replay(
    domain: Domain,
    settings: Settings,
    selection: Selection,
    *,
    clock: Callable[[], datetime],
    by: str,
    on_portion: Callable[[str], None] = lambda _line: None,
) -> ReplayReport:
    """Judge selected rows by today's contracts and patches; those that are valid now enter silver, once, and turn to `replayed`.

    Of rows that are still bad the reasons become today's. Where a later copy of a row stands in silver, the row takes
    its place, as if the contract had been right from the beginning. Memory is bounded by the micro-batch.

    Args:
        domain: Whose quarantine.
        settings: Where everything is, and how much may be in memory at once.
        selection: Which rows. Of its statuses only `discarded` counts: it lets discarded rows come back as well. Rows
            that are `new` or `replayed` are always looked at.
        clock: The time in UTC.
        by: The run or person at work, kept with each row whose status changes.
        on_portion: Called with a readable line after each portion.

    Durable on return: every selected row that is valid is in silver, or a copy of it that arrived earlier is.
    If it dies halfway: rows may be `replayed` and not yet in silver; running it again, or a rebuild of their hours, does
    the rest.

    Raises:
        MartBroken: a mart cannot be brought up to date; everything else was.
        SchemaChanged: a table's column has another type than its contract.
        KeyMissing: contracts name keys that the settings do not have; nothing was changed.
        RegistryError: the schemas of some values cannot be had; portions before them are done.
    """
    revive = DISCARDED in selection.statuses
    statuses = (NEW, REPLAYED, DISCARDED) if revive else (NEW, REPLAYED)
    lake = Lake(settings.lake, settings.fsync)
    book = SchemaBook(lake, domain.name, settings.registry)
    lookups = Lookups(settings.lookups)
    work = _Replay(domain, settings, clock, by, revive, derive.key_ring(domain, settings), lake, book, lookups)
    began = clock()
    before = silver.rewrites(work.lake, domain)
    with book, lookups:
        for portion in _portions(work.lake, domain, replace(selection, statuses=statuses), settings):
            on_portion(work.portion(portion))
    work.gold(before)
    return ReplayReport(
        domain=domain.name,
        selected=work.selected,
        replayed=work.replayed,
        cut=work.cut,
        waiting=dict(work.waiting),
        entered=dict(work.entered),
        patched=dict(work.patched),
        overtaken=dict(work.overtaken),
        windows=dict(work.windows),
        took=clock() - began,
    )


def discard(
    domain: Domain, settings: Settings, selection: Selection, *, reason: str, clock: Callable[[], datetime], by: str
) -> DiscardReport:
    """Give up selected rows that are `new`: from now on they stay out of silver, whatever the contracts say.

    Neither a rebuild nor a contract that comes later takes them in; a replay that names discarded rows does.

    Args:
        domain: Whose quarantine.
        settings: Where everything is.
        selection: Which rows; its statuses are of no account.
        reason: Why, kept with each row.
        clock: The time in UTC.
        by: The run or person at work, kept likewise.

    Durable on return: every row counted is `discarded`.
    If it dies halfway: some rows are; running it again does the rest.
    """
    lake, began, done = Lake(settings.lake, settings.fsync), clock(), 0
    for portion in _portions(lake, domain, replace(selection, statuses=(NEW,)), settings):
        count = 0

        def change(table: Pinned, left: tuple[Move, ...], portion: Portion = portion) -> Change | None:
            nonlocal count
            del left
            there = quarantine.standing(table.snapshot(), portion.log, portion.ranges)
            mine = there.join(portion.keys, on=KEY, how="semi")
            count = mine.filter(pl.col("status") == NEW).height
            given_up = quarantine.given_up(mine, reason, clock(), by)
            rows = pl.concat([there.join(portion.keys, on=KEY, how="anti"), given_up])
            return Change(rows, replaces=quarantine.slice_sql(portion.log, portion.ranges)) if count else None

        commit(lake, quarantine.spec(domain.name), change)
        done += count
    return DiscardReport(domain.name, done, clock() - began)


def _portions(lake: Lake, domain: Domain, selection: Selection, settings: Settings) -> list[Portion]:
    if lake.newest(quarantine.spec(domain.name)) is None:
        return []
    snapshot = Snapshot.of(lake.ensure(quarantine.spec(domain.name)))
    return list(portions(snapshot, selection, max_rows=settings.batch_rows, max_bytes=settings.batch_bytes))


@dataclass(slots=True)
class _Replay:
    domain: Domain
    settings: Settings
    clock: Callable[[], datetime]
    by: str
    revive: bool
    keys: KeyRing
    lake: Lake
    book: SchemaBook
    lookups: Lookups
    selected: int = 0
    replayed: int = 0
    cut: int = 0
    waiting: Counter[str] = field(default_factory=Counter)
    entered: Counter[str] = field(default_factory=Counter)
    patched: Counter[str] = field(default_factory=Counter)
    overtaken: Counter[str] = field(default_factory=Counter)
    windows: Counter[str] = field(default_factory=Counter)
    touched: dict[str, list[pl.Series]] = field(default_factory=dict)
    rewrites: Counter[str] = field(default_factory=Counter)

    def portion(self, portion: Portion) -> str:
        """Some rows of one log, down to silver; returns a readable line."""
        topic = portion.log.topic
        spec = quarantine.spec(self.domain.name)
        rows = quarantine.standing(Snapshot.of(self.lake.ensure(spec)), portion.log, portion.ranges)
        rows = rows.join(portion.keys, on=KEY, how="semi").unique(KEY, keep="first").sort("partition", "offset")
        records = rows.select(_RECORD)
        contracts = self.domain.events_of(topic)
        judged = judge(records, contracts, self.keys, self.book.of(records, contracts))
        judged = enriched(judged, self.domain, Sources(self.lake, self.domain, self.lookups), self.clock()).judged
        entering = self._settle(portion, records, judged)
        entered = sum(
            self._enter(name, good.join(entering, on=list(_PLACE), how="semi")) for name, good in judged.good.items()
        )
        self.selected += rows.height
        return f"{topic}: {counted(rows.height, 'row')} judged again, {entered:,} entered silver"

    def _settle(self, portion: Portion, records: pl.DataFrame, judged: Judged) -> pl.DataFrame:
        """Commit to the quarantine; returns the coordinates, as silver names them, of the rows that belong into silver."""
        topic, now = portion.log.topic, self.clock()
        digest = derive.contracts_digest(self.domain.events_of(topic))
        wanted = quarantine.rows(records, judged.rejected, digest, now)
        good = judged.good_coordinates().with_columns(topic=pl.lit(topic))
        entering, replayed, bad = good, 0, wanted

        def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
            nonlocal entering, replayed, bad
            del left
            there = quarantine.standing(table.snapshot(), portion.log, portion.ranges).sort(KEY)
            mine = there.join(portion.keys, on=KEY, how="semi", maintain_order="left")
            # Rows that are in silver and would be refused today: taking them out again is a rebuild's work.
            kept = self._in_silver(portion, mine.filter(pl.col("status") == REPLAYED).join(wanted, on=KEY, how="semi"))
            mine = mine.join(kept, on=KEY, how="anti", maintain_order="left")
            bad = wanted.join(mine, on=KEY, how="semi", maintain_order="left")
            settled = quarantine.settled(mine, bad, good, now, self.by, revive=self.revive)
            done = settled.filter(pl.col("status") == REPLAYED)
            entering = good.join(done, on=KEY, how="semi")
            replayed = done.height - mine.filter(pl.col("status") == REPLAYED).join(done, on=KEY, how="semi").height
            rest = there.join(mine, on=KEY, how="anti")
            rows = pl.concat([rest, settled]).sort(KEY)
            if rows.equals(there):
                return None
            return Change(rows, replaces=quarantine.slice_sql(portion.log, portion.ranges))

        commit(self.lake, quarantine.spec(self.domain.name), change)
        self.replayed += replayed
        self.waiting.update(derive.code_counts(bad))
        self.cut += bad.filter(pl.col("value_bytes") > pl.col("value").bin.size()).height
        return entering.select(pl.col(name).alias(own) for own, name in _PLACE.items())

    def _in_silver(self, portion: Portion, rows: pl.DataFrame) -> pl.DataFrame:
        """Which of some rows a silver table holds."""
        found = [rows.select(KEY).clear()]
        for spec in derive.silvers(self.domain, portion.log.topic).values() if rows.height else ():
            table = self.lake.newest(spec)
            if table is not None:
                near = Snapshot.of(table).touching("_offset", [(item.start, item.end) for item in portion.ranges])
                places = near.scan().select(pl.col(own).alias(name) for own, name in _PLACE.items())
                held = places.with_columns(topic=pl.lit(portion.log.topic)).select(KEY)
                found.append(rows.select(KEY).join(held.collect(), on=KEY, how="semi"))
        return pl.concat(found)

    def _enter(self, name: str, good: pl.DataFrame) -> int:
        """Commit rows to a silver table that has gone on without them; returns how many it did not have."""
        if good.is_empty():
            return 0
        versions = self.domain.versions_of(name)
        spec, contract = silver.spec(versions), silver.newest(versions)
        entered = 0
        kept = overtaken = good.clear()

        def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
            nonlocal kept, overtaken
            del left
            # What lies above its progress is for the stream, which judges it for both tables.
            rows = derive.taken(table, good, contract.topic, silver.PLACE)
            gone = erasure.forgotten(self.lake, self.domain.name, name, self.keys)
            rows = rows.filter(~gone.among(rows["idempotency_key"]))
            late = silver.late(rows, contract, table.snapshot())
            progress = {silver.REWRITES: (table.progress(silver.REWRITES) or 0) + 1}
            metadata = {"replayed_by": self.by}
            late = replace(late, kept=watermark.stamped(late.kept, table, versions))
            kept = late.kept.join(late.overtaken, on="idempotency_key", how="anti", maintain_order="left")
            overtaken = late.overtaken.clear()
            if kept.height:
                progress |= missing_marks(table, kept, contract)
                return Change(kept, progress=progress, metadata=metadata)
            keys = late.overtaken["idempotency_key"].unique().sort().head(_MOST_KEYS)
            if keys.is_empty():
                return None
            kept = late.kept.filter(pl.col("idempotency_key").is_in(keys.implode()))
            overtaken = late.overtaken.filter(pl.col("idempotency_key").is_in(keys.implode()))
            # By where they stand: a predicate is recorded with the commit, and a producer's key may be anything.
            places = pl.concat([part.select(silver.PLACE) for part in (kept, overtaken)])
            progress |= missing_marks(table, kept, contract)
            return Change(kept, replaces=places_sql(places, silver.PLACE), progress=progress, metadata=metadata)

        while commit(self.lake, spec, change).change is not None:
            entered += kept.height
            self.rewrites[name] += 1
            self.entered[spec.title] += kept.height
            if PATCH.name in kept.columns:
                names = kept[PATCH.name].drop_nulls().value_counts().iter_rows()
                self.patched.update({f"{name}/{patch}": count for patch, count in names})
            self.overtaken[spec.title] += overtaken.height
            for mart in self.domain.marts:
                if name in mart.silver_inputs:
                    found = [gold.touched_by(part, name, mart) for part in (kept, overtaken)]
                    self.touched[mart.name] = [*self.touched.get(mart.name, []), *found]
        return entered

    def gold(self, before: dict[str, int]) -> None:
        """Bring the marts up to date, also those that a run before this one has left behind."""
        none = pl.Series([], dtype=pl.Datetime("us", "UTC"))
        touched = {
            mart.name: pl.concat([none, *self.touched.get(mart.name, [])]).unique().sort() for mart in self.domain.marts
        }
        broken: LakeError | None = None
        after = {name: count + self.rewrites[name] for name, count in before.items()}
        for done in gold.refresh(self.lake, self.domain, {}, rewritten=gold.Rewritten(touched, before, after)):
            broken = broken or done.error
            if done.report is not None:
                self.windows[gold.spec(done.mart).title] += done.report.windows
        if broken is not None:
            raise broken
