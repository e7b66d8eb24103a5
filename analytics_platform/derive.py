"""From bronze to quarantine and silver: judge records by their contracts, put every one in exactly one place.

    bronze records ── decode ── check ── enrich ──┬── rejected ──────────> quarantine
                                                  └── good ── dedupe ────> silver, one table per event type

Everything here is a function of bronze, the contracts, the reference tables they ask and a range, so any step may die, run twice or run late.
Quarantine commits before silver. Should the contracts change in between, the records that silver has not yet taken are
judged again for both (see `_take_rejected`), so that none can land in neither place or in both.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from analytics_platform import bronze, erasure, quarantine, silver, watermark
from analytics_platform.contract.model import Domain, EventContract
from analytics_platform.contract.newer import Sights
from analytics_platform.contract.treatment import key_names
from analytics_platform.enrich import NOBODY, Asks, Sources, enriched, missing_marks
from analytics_platform.errors import AccountingBroken, KeyMissing
from analytics_platform.judge import Judged, judge
from analytics_platform.kafka.frame import NO_SCHEMAS
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.keyring import ERASURE, NO_KEYS, KeyRing
from analytics_platform.lake.commit import Change, Move, commit
from analytics_platform.lake.files import Pinned
from analytics_platform.lake.progress import progress
from analytics_platform.lake.table import Lake, TableSpec
from analytics_platform.report import Account
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import Settings
from analytics_platform.silver import Split

STREAM = "stream"
"""Who changed a row's status when contracts changed between the quarantine's commit and silver's."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of bronze, in memory."""

    log: Log
    ranges: tuple[OffsetRange, ...]
    records: pl.DataFrame
    """Exactly the bronze records of `ranges`, without gap rows."""

    @property
    def moves(self) -> tuple[Move, ...]:
        """The progress that taking it in makes; `targets` has looked whether a table should know a partition."""
        return tuple(Move(self.log.app_id(item.partition), item, fresh=True) for item in self.ranges)


@dataclass(frozen=True, slots=True)
class Taken:
    """Where the records of a slice went; counts of what this call itself committed."""

    accounts: Mapping[int, Account]
    kept: Mapping[str, int]
    duplicate: Mapping[str, int]
    reasons: Mapping[str, int]
    rejected: Mapping[str, int]
    """Rows of the quarantine by the event type they claim."""
    newest_occurred_at: Mapping[str, datetime]
    newer: Sights
    """What rows had that claim a newer version than any known; of event types of which this call placed something."""
    late: Mapping[str, int]
    """Rows added that were later than their contract allows, by event type; types without any are left out."""
    unknown: Mapping[str, int] = field(default_factory=dict)
    """Rows whose key a reference table does not know, by `event.enrichment`; likewise, copies among them."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Rows whose reference table could not be asked, likewise."""


def silvers(domain: Domain, topic: str, halted: Collection[str] = ()) -> Mapping[str, TableSpec]:
    """The silver tables of a topic, by event type, but for those halted."""
    names = [name for name in domain.event_types_of(topic) if name not in halted]
    return {name: silver.spec(domain.versions_of(name)) for name in names}


def contracts_digest(contracts: Sequence[EventContract]) -> str:
    """sha256 (hex) over some contracts and their patches, whatever their order."""
    patches = {patch.digest for item in contracts for patch in item.patches}
    digests = [*sorted(item.header.digest for item in contracts), *sorted(patches)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def key_ring(domain: Domain, settings: Settings) -> KeyRing:
    """The keys by which a domain's fields are hashed, and by which it knows what it forgot; asked for before anything of it is read or written.

    Raises:
        KeyMissing: contracts name keys that the settings do not have.
        SettingsError: the file of keys cannot be read.
    """
    keys = settings.key_ring()
    named = set().union(*(key_names(domain.versions_of(event.name)) for event in domain.events))
    if erasure.exists(Lake(settings.lake, settings.fsync), domain.name):
        named.add(ERASURE)
    missing = keys.missing(named)
    if missing:
        raise KeyMissing(domain.name, missing)
    return keys


def targets(
    lake: Lake, domain: Domain, log: Log, partitions: Sequence[int], halted: Collection[str] = ()
) -> Mapping[int, int]:
    """Up to where *all* tables below bronze have taken in a log, by partition; new partitions are left out.

    Tables of event types that are `halted` are not asked: they wait.

    Raises:
        ProgressLost: a table has rows of a partition but no stored offset.
    """
    tables = [(quarantine.spec(domain.name), quarantine.COORDINATES)]
    tables += [(spec, silver.COORDINATES) for spec in silvers(domain, log.topic, halted).values()]
    offsets = [progress(lake.newest(spec), spec.title, columns, log, partitions) for spec, columns in tables]
    return {
        partition: min(item[partition] for item in offsets)
        for partition in partitions
        if all(partition in item for item in offsets)
    }


def take_in(
    lake: Lake,
    domain: Domain,
    part: Slice,
    *,
    now: datetime,
    halted: Collection[str] = (),
    keys: KeyRing = NO_KEYS,
    book: SchemaBook | None = None,
    lookups: Asks = NOBODY,
    lap: Callable[[str], None] = lambda _stage: None,
) -> Taken:
    """Take a slice of bronze into quarantine and silver.

    Args:
        lake: Where the tables are.
        domain: Whose contracts judge.
        part: May start before what some tables have, never after what one has.
        now: For the status of quarantined rows.
        halted: Event types whose silver tables stay where they are, and so do their progress and these records in
            bronze; their bad records are quarantined as ever. Once such a type is not halted any more its table lags
            behind the others, as that of a type contracted later does, and is caught up like it.
        keys: By which fields are hashed, see `key_ring`.
        book: Has the schemas of framed values; may be None where no contract declares such.
        lookups: Ask the services that contracts enrich from.
        lap: Called with the name of each stage when it is done: decode, enrich, quarantine, silver.

    Durable on return: all of the slice, in every table.
    If it dies halfway: the tables before it are ahead; calling again with the same slice does the rest.

    Raises:
        AccountingBroken: the slice does not add up; no row of it that does not is committed.
        OffsetGap: a table has less than the slice starts with.
        RegistryError: the schemas of some values cannot be had; nothing was committed but those that can.
    """
    contracts = domain.events_of(part.log.topic)
    schemas = NO_SCHEMAS if book is None else book.of(part.records, contracts)
    judged = judge(part.records, contracts, keys, schemas)
    lap("decode")
    found = enriched(judged, domain, Sources(lake, domain, lookups), now)
    judged = found.judged
    lap("enrich")
    quarantined, discarded = _take_rejected(lake, domain, part, judged, now)
    lap("quarantine")
    good = judged.good_but(discarded)
    splits = {
        name: _take_good(lake, domain.versions_of(name), part, judged, good, keys=keys)
        for name in silvers(domain, part.log.topic, halted)
    }
    lap("silver")
    rejected = dict(quarantined["event_type"].drop_nulls().value_counts().iter_rows())
    placed = {*rejected, *(name for name, split in splits.items() if split.kept.height or split.duplicates.height)}
    return Taken(
        _accounts(part, judged, splits, quarantined),
        {name: split.kept.height for name, split in splits.items()},
        {name: split.duplicates.height for name, split in splits.items()},
        code_counts(quarantined),
        rejected,
        {name: split.kept["occurred_at"].max() for name, split in splits.items() if split.kept.height},  # type: ignore[misc]
        {sight: count for sight, count in judged.newer.items() if sight.event in placed},
        {name: count for name, split in splits.items() if (count := watermark.late(split.kept))},
        {name: count for name, count in found.unknown.items() if name.split(".")[0] in placed},
        {name: count for name, count in found.missing.items() if name.split(".")[0] in placed},
    )


def code_counts(rejected: pl.DataFrame) -> Mapping[str, int]:
    """How often each reason code stands in the column `codes`, sorted by code."""
    codes = rejected.select(pl.col("codes").explode(empty_as_null=False)).to_series().drop_nulls()
    return dict(codes.value_counts(sort=False).sort("codes").iter_rows())


def _accounts(
    part: Slice, judged: Judged, splits: Mapping[str, Split], quarantined: pl.DataFrame
) -> Mapping[int, Account]:
    """Where the records went that this call placed; those that the tables had already are not counted again.

    Nor are valid records of types that are halted: they are counted when they are taken in.
    """
    read = _per_partition(part.records, "partition")
    kept, duplicate, placed = Counter[int](), Counter[int](), Counter[int]()
    for split in splits.values():
        kept.update(_per_partition(split.kept, "_partition"))
        duplicate.update(_per_partition(split.duplicates, "_partition"))
    for rows in judged.good.values():
        placed.update(_per_partition(rows, "_partition"))
    bad = _per_partition(quarantined, "partition")
    placed.update(_per_partition(judged.rejected, "partition"))
    accounts = {}
    for item in sorted(read):
        earlier = placed[item] - kept[item] - duplicate[item] - bad.get(item, 0)
        accounts[item] = Account(read[item] - earlier, kept[item], duplicate[item], bad.get(item, 0))
    broken = {item: account for item, account in accounts.items() if not account.adds_up}
    if broken:
        raise AccountingBroken(part.log.topic, str(broken))
    return accounts


def _per_partition(rows: pl.DataFrame, column: str) -> dict[int, int]:
    return dict(rows.group_by(column).len().iter_rows())


def _take_good(
    lake: Lake,
    versions: Sequence[EventContract],
    part: Slice,
    judged: Judged,
    valid: Mapping[str, pl.DataFrame],
    *,
    keys: KeyRing = NO_KEYS,
) -> Split:
    spec, contract = silver.spec(versions), silver.newest(versions)
    good = valid.get(contract.name, pl.DataFrame(schema=spec.schema))
    nothing = Split(good.clear(), good.clear())
    found = nothing

    def change(table: Pinned, left: tuple[Move, ...]) -> Change:
        nonlocal found
        rows = good.filter(bronze.within([move.range for move in left], "_partition", "_offset"))
        gone = erasure.forgotten(lake, contract.header.domain, contract.name, keys)
        found = silver.split(rows, contract, table.snapshot(), forgotten=gone)
        if found.kept.height + found.duplicates.height != rows.height:
            raise AccountingBroken(spec.title, f"{rows.height} rows, {found.kept.height} + {found.duplicates.height}")
        found = replace(found, kept=watermark.stamped(found.kept, table, versions))
        progress = {**watermark.moved(found.kept, table, versions), **missing_marks(table, found.kept, contract)}
        return Change(found.kept, progress=progress, metadata=_metadata(part, found, judged, left))

    committed = commit(lake, spec, change, part.moves)
    return nothing if committed.change is None else found


def _metadata(part: Slice, split: Split, judged: Judged, moves: Sequence[Move]) -> Mapping[str, str]:
    """The account of one silver commit; `other` are valid rows of the topic's other event types."""
    within = bronze.within([move.range for move in moves])
    read = _per_partition(part.records.filter(within), "partition")
    kept, duplicate = _per_partition(split.kept, "_partition"), _per_partition(split.duplicates, "_partition")
    bad = _per_partition(judged.rejected.filter(within), "partition")
    account = {}
    for move in moves:
        item = move.range.partition
        sums = {
            "start": move.range.start,
            "end": move.range.end,
            "read": read.get(item, 0),
            "kept": kept.get(item, 0),
            "duplicate": duplicate.get(item, 0),
            "quarantined": bad.get(item, 0),
        }
        account[move.app_id] = sums | {"other": sums["read"] - sums["kept"] - sums["duplicate"] - sums["quarantined"]}
    return {"accounting": json.dumps(account)}


def _take_rejected(
    lake: Lake, domain: Domain, part: Slice, judged: Judged, now: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Commit to the quarantine; returns the rows of `judged.rejected` that it did not have yet, and those discarded.

    Only rows that are `new` can be discarded, and whatever is good stops being `new` in this commit: so what is not
    discarded by now never will be before silver takes it in.
    """
    digest = contracts_digest(domain.events_of(part.log.topic))
    rejected = quarantine.rows(part.records, judged.rejected, digest, now)
    metadata = {"contracts": digest}
    discarded = quarantine.discarded(rejected.clear())

    def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
        nonlocal discarded
        # What was forgotten after these records were read stays out.
        erased = bronze.forgotten(lake, part.log.topic)
        wanted = rejected.join(erased, on=list(bronze.PLACE), how="anti", maintain_order="left")
        new = wanted.filter(bronze.within([move.range for move in left]))
        starts = {move.app_id: move.range.start for move in left}
        seen = [replace(move.range, end=starts.get(move.app_id, move.range.end)) for move in part.moves]
        seen = [item for item in seen if item.start < item.end]
        if not seen:
            return Change(new, metadata=metadata) if left else None
        # After a crash: the contracts may have changed since the quarantine took these records in. Judge them again.
        standing = quarantine.standing(table.snapshot(), part.log, seen)
        discarded = quarantine.discarded(standing)
        is_open = bronze.within(seen) & _undecided(lake, domain, part.log, seen)
        good = judged.good_coordinates().with_columns(topic=pl.lit(part.log.topic)).filter(is_open)
        mended = quarantine.settled(standing.filter(is_open), wanted.filter(is_open), good, now, STREAM)
        rows = pl.concat([standing.filter(~is_open), mended])
        if rows.sort(quarantine.KEY).equals(standing.sort(quarantine.KEY)):
            return Change(new, metadata=metadata) if left else None
        slice_sql = quarantine.slice_sql(part.log, part.ranges)
        return Change(pl.concat([rows, new]), replaces=slice_sql, metadata=metadata)

    committed = commit(lake, quarantine.spec(domain.name), change, part.moves, always=True)
    return judged.rejected.filter(bronze.within([move.range for move in committed.moves])), discarded


def taken(table: Pinned, rows: pl.DataFrame, topic: str, columns: tuple[str, str, str]) -> pl.DataFrame:
    """Those rows that the table's own progress has passed; the others are for the stream to take in.

    `columns`: what the rows call topic id, partition and offset.
    """
    parts = []
    for (log_id, partition), group in rows.group_by(columns[0], columns[1]):
        end = table.progress(Log(topic, str(log_id)).app_id(int(str(partition))))
        within = bronze.within([OffsetRange(int(str(partition)), 0, end or 0)], columns[1], columns[2])
        parts.append(group.filter(within))
    return pl.concat(parts) if parts else rows


def _undecided(lake: Lake, domain: Domain, log: Log, ranges: Sequence[OffsetRange]) -> pl.Expr:
    """Whether the silver table of a row's event type has yet to take it in; for unknown types, whether all have."""
    partitions = [item.partition for item in ranges]
    tables = silvers(domain, log.topic)
    taken = pl.lit(value=False)
    for name, spec in tables.items():
        have = progress(lake.newest(spec), spec.title, silver.COORDINATES, log, partitions)
        reached = bronze.within([OffsetRange(partition, 0, end) for partition, end in have.items()])
        concerns = (pl.col("event_type") == name) | ~pl.col("event_type").is_in(list(tables))
        taken |= reached & concerns.fill_null(value=True)
    return ~taken
