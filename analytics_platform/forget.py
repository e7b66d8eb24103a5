"""Forget somebody, or one event: their rows leave every table, and no file of the lake holds them any more.

    bronze ── search ──> keys that must not come back ──> bronze (bytes erased, places kept) ──> quarantine, silver
                                                          ──> marts recomputed ──> vacuum ──> what was done, in counts

Bronze says what was forgotten: below it every row that stands at a forgotten place, or has a forgotten key, is taken out.
So any step may die; running again finds in bronze and in the list of keys what is left to do.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import polars as pl

from analytics_platform import breaker, bronze, derive, erasure, gold, quarantine, reference, silver
from analytics_platform.catchup import catch_up
from analytics_platform.contract.model import Domain
from analytics_platform.errors import KeyMissing, LakeError
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.keyring import ERASURE, KeyRing
from analytics_platform.lake.commit import Change, Move, commit
from analytics_platform.lake.erase import vacuum
from analytics_platform.lake.files import Pinned, Snapshot, places_sql
from analytics_platform.lake.table import Lake, TableSpec
from analytics_platform.rebuild import records_within, slices
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import Settings
from analytics_platform.subject import MATCH_SCHEMA, Wanted, matches

_EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
_MOST_PLACES = 1000
"""In one commit, so that predicates stay short; each commit is whole in itself."""


@dataclass(slots=True)
class TableErasure:
    """What was done to one table."""

    table: str
    rows: int = 0
    """Rows taken out; in bronze, records whose bytes were erased; in gold, rows recomputed away or changed."""
    files_rewritten: int = 0
    files_deleted: int = 0
    files_waiting: int = 0
    """Of writers that may still be at work; a later run deletes them."""
    version_before: int = 0
    version_after: int = 0


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What came of forgetting, in counts."""

    domain: str
    by: str
    """`key` or `subject`."""
    records: int
    """Records of bronze found this time."""
    tables: tuple[TableErasure, ...] = field(default=())


def by_key(domain: Domain, event: str, key: str, settings: Settings, *, clock: Callable[[], datetime]) -> ErasureReport:
    """Forget one event of a type by its idempotency key, with all its copies. See `_Erasure.run`."""
    columns = tuple((contract, "idempotency_key") for contract in domain.versions_of(event))
    return _Erasure(domain, settings, clock, Wanted(key, columns), "key").run()


def by_subject(domain: Domain, subject: str, settings: Settings, *, clock: Callable[[], datetime]) -> ErasureReport:
    """Forget every event of a domain whose contract's `subject` has this value. See `_Erasure.run`."""
    columns = tuple((contract, contract.subject) for contract in domain.events if contract.subject is not None)
    return _Erasure(domain, settings, clock, Wanted(subject, columns), "subject").run()


@dataclass(slots=True)
class _Erasure:
    domain: Domain
    settings: Settings
    clock: Callable[[], datetime]
    wanted: Wanted
    by: str
    keys: KeyRing = field(init=False, repr=False)
    lake: Lake = field(init=False)
    done: dict[str, TableErasure] = field(default_factory=dict)

    def run(self) -> ErasureReport:
        """All steps, in the order in which nothing can come back.

        Durable on return: no table has a row of it and no file its bytes, but for files the report counts as waiting.
        If it dies halfway: running again does the rest, whatever it is asked for.

        Raises:
            KeyMissing: there is no key `erasure`, or one that contracts name is not there; nothing was changed.
            MartBroken: a mart cannot be recomputed, and keeps its rows; everything else is forgotten. Run again then.
            RegistryError: the schemas of some values cannot be had, so nobody can tell whom they are about; nothing of
                bronze was changed.
        """
        self.keys = derive.key_ring(self.domain, self.settings)
        if self.keys.missing([ERASURE]):
            raise KeyMissing(self.domain.name, [ERASURE])
        self.lake = Lake(self.settings.lake, self.settings.fsync)
        subject_hash = self.keys.digests(ERASURE, [self.wanted.text])[0]
        topics = sorted({contract.topic for contract, _ in self.wanted.columns})
        with SchemaBook(self.lake, self.domain.name, self.settings.registry) as book:
            found = {topic: self._search(topic, book) for topic in topics}
        self._remember(subject_hash, found.values())
        for topic, places in found.items():
            self._erase_bronze(topic, places)
        self._take_out_of_quarantine()
        broken = self._take_out_of_silver_and_gold()
        for spec in self._specs():
            self._vacuum(spec)
        if broken is not None:
            raise broken
        records = sum(places.height for places in found.values())
        report = ErasureReport(
            self.domain.name, self.by, records, tuple(self.done[spec.title] for spec in self._specs())
        )
        counts = json.dumps(asdict(report))
        at = self.clock()
        erasure.record(
            self.lake, self.domain.name, at=at, stage=erasure.DONE, by=self.by, subject_hash=subject_hash, report=counts
        )
        return report

    def _specs(self) -> Iterator[TableSpec]:
        yield from (bronze.spec(topic) for topic in self.domain.topics)
        yield quarantine.spec(self.domain.name)
        for topic in self.domain.topics:
            yield from derive.silvers(self.domain, topic).values()
        yield from (reference.spec(contract) for contract in self.domain.followed)  # made anew with the marts
        yield from (gold.spec(mart) for mart in self.domain.marts)

    def _search(self, topic: str, book: SchemaBook) -> pl.DataFrame:
        """MATCH_SCHEMA, of what quarantine and silver have taken in: a burst that is ahead cannot bring that back."""
        known = bronze.last_log_id(self.lake, topic)
        if known is None:
            return pl.DataFrame(schema=MATCH_SCHEMA)
        log = Log(topic, known)
        partitions = sorted(bronze.first_offsets(self.lake, log))
        halted = breaker.halts(
            self.lake, self.domain
        )  # they wait: their silver asks for what is forgotten when it goes on
        catch_up(self.lake, self.domain, log, partitions, self.settings, book=book, clock=self.clock, halted=halted)
        ends = derive.targets(self.lake, self.domain, log, partitions, halted)
        settled = bronze.within([OffsetRange(item, 0, end) for item, end in ends.items()])
        contracts = self.domain.events_of(topic)
        listed = {
            name: erasure.forgotten(self.lake, self.domain.name, name, self.keys)
            for name in self.domain.event_types_of(topic)
        }
        found = [pl.DataFrame(schema=MATCH_SCHEMA)]
        for span in slices(self.lake, topic, _EVER, self.settings.batch_rows):
            records = records_within(self.lake, topic, span)
            records = records.filter(settled | (pl.col("topic_id") != known))
            found.append(matches(records, contracts, self.wanted, listed, book.of(records, contracts)))
        return pl.concat(found)

    def _remember(self, subject_hash: str, found: Iterable[pl.DataFrame]) -> None:
        places = pl.concat([pl.DataFrame(schema=MATCH_SCHEMA), *found])
        named = places.drop_nulls("idempotency_key").select("event", "idempotency_key").unique()
        keys = list(zip(named["event"], self.keys.digests(ERASURE, named["idempotency_key"]), strict=True))
        if self.by == "key":  # also when no copy has come yet, or bronze has none any more
            keys += [(contract.name, subject_hash) for contract, _ in self.wanted.columns]
        erasure.record(
            self.lake,
            self.domain.name,
            at=self.clock(),
            stage=erasure.BEGUN,
            by=self.by,
            subject_hash=subject_hash,
            keys=keys,
        )

    def _erase_bronze(self, topic: str, found: pl.DataFrame) -> None:
        spec, at = bronze.spec(topic), self.clock()
        for part in _parts(found):

            def change(table: Pinned, _left: tuple[Move, ...], part: pl.DataFrame = part) -> Change | None:
                standing = _at_places(table.snapshot(), part, bronze.PLACE).filter(pl.col("gap_end").is_null())
                if standing.is_empty():
                    return None
                count = (table.progress(bronze.FORGOTTEN) or 0) + 1
                rows = bronze.erased(standing, at)
                return Change(rows, replaces=places_sql(rows, bronze.PLACE), progress={bronze.FORGOTTEN: count})

            made = self._commit(spec, change)
            self._begin(spec).rows += 0 if made is None else made.rows.height

    def _take_out_of_quarantine(self) -> None:
        spec = quarantine.spec(self.domain.name)
        gone = pl.concat(
            [bronze.forgotten(self.lake, topic).with_columns(topic=pl.lit(topic)) for topic in self.domain.topics]
        )

        hits = gone.clear()

        def change(table: Pinned, _left: tuple[Move, ...]) -> Change:
            nonlocal hits
            near = table.snapshot().scan().select(quarantine.KEY)
            hits = near.join(gone.lazy(), on=quarantine.KEY, how="semi").collect().head(_MOST_PLACES)
            nothing = pl.DataFrame(schema=spec.schema)
            if hits.is_empty():
                return Change(nothing)  # moves the token: a rebuild that read bronze before must look again
            topic = hits["topic"].sort()[0]
            hits = hits.filter(topic=topic)
            return Change(nothing, replaces=quarantine.places_sql(topic, hits))

        while self._commit(spec, change) is not None:
            self._begin(spec).rows += hits.height

    def _take_out_of_silver_and_gold(self) -> LakeError | None:
        touched: dict[str, list[pl.Series]] = {mart.name: [] for mart in self.domain.marts}
        before, after = dict[str, int](), dict[str, int]()
        for topic in self.domain.topics:
            gone = bronze.forgotten(self.lake, topic).rename(dict(zip(bronze.PLACE, silver.PLACE, strict=True)))
            for name, spec in derive.silvers(self.domain, topic).items():
                table = self.lake.newest(spec)
                before[name] = 0 if table is None else table.transaction_version(silver.REWRITES) or 0
                parts = self._take_out_of(name, spec, gone)
                after[name] = before[name] + len(parts)
                for removed in parts:
                    for mart in self.domain.marts:
                        if name in mart.silver_inputs:
                            touched[mart.name].append(gold.touched_by(removed, name, mart))
        none = pl.Series([], dtype=pl.Datetime("us", "UTC"))
        starts = {name: pl.concat([none, *parts]).unique().sort() for name, parts in touched.items()}
        broken: LakeError | None = None
        paths = {mart.name: _paths(self.lake, gold.spec(mart)) for mart in self.domain.marts}
        rewritten = gold.Rewritten(starts, before, after)
        for item in gold.refresh(self.lake, self.domain, {}, rewritten=rewritten):
            spec = gold.spec(item.mart)
            done = self._begin(spec)
            broken = broken or item.error
            if item.error is None:
                done.rows += item.report.removed if item.report is not None else 0
                done.files_rewritten += len(paths[item.mart.name] - _paths(self.lake, spec))
        return broken

    def _take_out_of(self, name: str, spec: TableSpec, gone: pl.DataFrame) -> list[pl.DataFrame]:
        """The rows that left a silver table, in the columns that say where and when."""
        times = {mart.window.time_fields[name] for mart in self.domain.marts if name in mart.silver_inputs}
        columns = [*silver.PLACE, *sorted(times)]
        removed: list[pl.DataFrame] = []
        hits = pl.DataFrame()

        def change(table: Pinned, _left: tuple[Move, ...]) -> Change:
            nonlocal hits
            listed = erasure.forgotten(self.lake, self.domain.name, name, self.keys)
            hits = _hits(table.snapshot(), gone, listed, columns).head(_MOST_PLACES)
            nothing = pl.DataFrame(schema=spec.schema)
            if hits.is_empty():
                return Change(nothing)  # moves the token: whoever has not seen the list must look again
            rewrites = (table.progress(silver.REWRITES) or 0) + 1
            return Change(nothing, replaces=places_sql(hits, silver.PLACE), progress={silver.REWRITES: rewrites})

        while self._commit(spec, change) is not None:
            removed.append(hits)
            self._begin(spec).rows += hits.height
        return removed

    def _begin(self, spec: TableSpec) -> TableErasure:
        if spec.title not in self.done:
            table = self.lake.newest(spec)
            version = 0 if table is None else table.version()
            self.done[spec.title] = TableErasure(spec.title, version_before=version)
        return self.done[spec.title]

    def _commit(self, spec: TableSpec, change: Callable[[Pinned, tuple[Move, ...]], Change | None]) -> Change | None:
        """Commit; returns what replaced rows, if anything did."""
        done = self._begin(spec)
        before = _paths(self.lake, spec)
        made = commit(self.lake, spec, change).change
        if made is None or made.replaces is None:
            return None
        done.files_rewritten += len(before - _paths(self.lake, spec))
        return made

    def _vacuum(self, spec: TableSpec) -> None:
        done = self._begin(spec)
        vacuumed = vacuum(self.lake, spec, self.clock())
        done.files_deleted += vacuumed.deleted
        done.files_waiting += vacuumed.waiting
        table = self.lake.newest(spec)
        done.version_after = 0 if table is None else table.version()


def _parts(places: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for start in range(0, places.height, _MOST_PLACES):
        yield places.slice(start, _MOST_PLACES)


def _at_places(snapshot: Snapshot, places: pl.DataFrame, columns: tuple[str, str, str]) -> pl.DataFrame:
    near = snapshot.touching(columns[2], [(item, item + 1) for item in places[columns[2]]])
    return near.scan().join(places.select(columns).lazy(), on=columns, how="semi").collect()


def _hits(snapshot: Snapshot, gone: pl.DataFrame, listed: erasure.Forgotten, columns: Sequence[str]) -> pl.DataFrame:
    """Rows of silver at a forgotten place or under a forgotten key; file by file, since every key has to be hashed."""
    found = [pl.DataFrame(schema={name: snapshot.schema[name] for name in columns})]
    for number in range(snapshot.files.height):
        one = Snapshot(snapshot.schema, snapshot.files.slice(number, 1))
        rows = one.scan().select(*columns, "idempotency_key").collect()
        here = rows.join(gone, on=silver.PLACE, how="semi", maintain_order="left")
        keyed = rows.filter(listed.among(rows["idempotency_key"]))
        found.append(pl.concat([here, keyed]).unique(silver.PLACE).select(columns))
    return pl.concat(found)


def _paths(lake: Lake, spec: TableSpec) -> set[str]:
    table = lake.newest(spec)
    return set() if table is None else set(Snapshot.of(table).paths)
