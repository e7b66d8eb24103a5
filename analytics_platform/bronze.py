"""Bronze: every Kafka record as it came, and how far each partition has been read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from analytics_platform.contract.model import table_name
from analytics_platform.contract.schema import BRONZE_SCHEMA
from analytics_platform.errors import TopicRecreated
from analytics_platform.kafka.offsets import Log, OffsetRange, TopicState
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.progress import Coordinates, progress
from analytics_platform.lake.table import Lake, TableSpec

SCHEMA: Mapping[str, pl.DataType] = BRONZE_SCHEMA
"""Columns of every bronze table.

`topic_id` is `Log.id`. `value_bytes` is the value's true length, also where `value` was cut; null for a null value.
`ingested_at` is one instant per micro-batch, in whole milliseconds. `gap_end` is null for a record; a row that has it
stands for the offsets `[offset, gap_end)` that expired unread and were given up by an operator at `ingested_at`, or,
where `forgotten_at` is set, for one record that was taken in at `ingested_at` and whose bytes were erased since.
"""

COORDINATES = Coordinates("topic_id", "partition")

PLACE = ("topic_id", "partition", "offset")
"""The columns that say where in Kafka a record stood."""

RAW = ("key", "value", "headers")
"""The columns that hold what the producer sent, whatever it is."""


def spec(topic: str) -> TableSpec:
    """The bronze table of a topic."""
    return TableSpec(
        "bronze",
        table_name(topic),
        SCHEMA,
        ("partition", "offset", "ingested_at"),
        f"Every record of the Kafka topic {topic}, as it came.",
        RAW,
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """How far a topic has been read."""

    offsets: Mapping[int, int]
    """The next offset to read, by partition; new partitions are left out."""
    first: bool
    """Whether nothing was ever read of this topic."""

    def start(self, state: TopicState, partition: int) -> int:
        """The next offset to read of a partition, also of one that is new."""
        return self.offsets.get(partition, state.partitions[partition].low if self.first else 0)


def stored(lake: Lake, state: TopicState) -> Stored:
    """Read the progress from the table; the only place that says where to resume.

    Raises:
        ProgressLost: the table has rows of a partition but no offset for it.
        TopicRecreated: the table has rows of another log of this name and none of this one.
    """
    table = lake.newest(spec(state.topic))
    offsets = progress(table, spec(state.topic).title, COORDINATES, state.log, state.partitions)
    if offsets or table is None:
        return Stored(offsets, first=table is None)
    known = last_log_id(lake, state.topic)
    if known is not None and known != state.log.id:
        raise TopicRecreated(state.topic, known, state.log.id)
    return Stored(offsets, first=True)


def last_log_id(lake: Lake, topic: str) -> str | None:
    """The log that the newest rows came from; `None` for a table without rows."""
    table = lake.newest(spec(topic))
    if table is None:
        return None
    snapshot = Snapshot.of(table)
    if snapshot.files.is_empty():
        return None
    newest = snapshot.files["max.ingested_at"].max()
    recent = Snapshot(snapshot.schema, snapshot.files.filter(pl.col("max.ingested_at") == newest))
    row = recent.scan().sort("ingested_at").last().select("topic_id").collect()
    return str(row.item())


def instant(now: datetime) -> datetime:
    """An instant as `ingested_at` holds it: whole milliseconds, so that files can be skipped by it exactly."""
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def rows(raw: pl.DataFrame, log: Log, ingested_at: datetime) -> pl.DataFrame:
    """Raw records as rows of bronze, in the same order; `ingested_at` is an `instant`."""
    return raw.with_columns(
        topic=pl.lit(log.topic),
        topic_id=pl.lit(log.id),
        ingested_at=pl.lit(ingested_at, SCHEMA["ingested_at"]),
        gap_end=pl.lit(None, SCHEMA["gap_end"]),
        forgotten_at=pl.lit(None, SCHEMA["forgotten_at"]),
    ).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def within(ranges: Sequence[OffsetRange], partition: str = "partition", offset: str = "offset") -> pl.Expr:
    """Whether a row's coordinates lie in one of some ranges of one log."""
    if not ranges:
        return pl.lit(value=False)
    return pl.any_horizontal(
        (pl.col(partition) == item.partition) & (pl.col(offset) >= item.start) & (pl.col(offset) < item.end)
        for item in ranges
    )


def records(lake: Lake, log: Log, ranges: Sequence[OffsetRange]) -> pl.LazyFrame:
    """The records of some ranges, without gap rows, in no particular order."""
    table = lake.newest(spec(log.topic))
    if table is None:
        return pl.DataFrame(schema=SCHEMA).lazy()
    snapshot = Snapshot.of(table).touching("offset", [(item.start, item.end) for item in ranges])
    return snapshot.scan().filter(within(ranges) & (pl.col("topic_id") == log.id) & pl.col("gap_end").is_null())


def places(lake: Lake, log: Log, ranges: Sequence[OffsetRange]) -> pl.LazyFrame:
    """Where records of some ranges were taken in, also those whose bytes were erased since: partition and offset."""
    table = lake.newest(spec(log.topic))
    if table is None:
        return pl.DataFrame(schema={name: SCHEMA[name] for name in ("partition", "offset")}).lazy()
    snapshot = Snapshot.of(table).touching("offset", [(item.start, item.end) for item in ranges])
    taken_in = pl.col("gap_end").is_null() | is_forgotten(snapshot.schema)
    mine = within(ranges) & (pl.col("topic_id") == log.id) & taken_in
    return snapshot.scan().filter(mine).select("partition", "offset")


def erased(records: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Records without what the producer sent: where and when they came stays, so that they are still accounted for."""
    return records.with_columns(
        *(pl.lit(None, SCHEMA[name]).alias(name) for name in (*RAW, "value_bytes")),
        gap_end=pl.col("offset") + 1,
        forgotten_at=pl.lit(at, SCHEMA["forgotten_at"]),
    )


FORGOTTEN = "forgotten"
"""The application id that counts the commits which erased bytes."""


def is_forgotten(schema: Iterable[str]) -> pl.Expr:
    """Whether a row stands for a record whose bytes were erased; a table that is too old for the column has none."""
    return pl.col("forgotten_at").is_not_null() if "forgotten_at" in set(schema) else pl.lit(value=False)


def forgotten(lake: Lake, topic: str) -> pl.DataFrame:
    """Where the records stood whose bytes were erased: `PLACE`, in no particular order."""
    table = lake.newest(spec(topic))
    if table is None or table.transaction_version(FORGOTTEN) is None:
        return pl.DataFrame(schema={name: SCHEMA[name] for name in PLACE})
    snapshot = Snapshot.of(table)
    return snapshot.scan().filter(is_forgotten(snapshot.schema)).select(PLACE).collect()


def ends(lake: Lake, log: Log, partitions: Iterable[int]) -> dict[int, int]:
    """Up to where bronze holds each partition of a log (the next offset to read); unknown partitions are left out."""
    table = lake.newest(spec(log.topic))
    if table is None:
        return {}
    found = {item: table.transaction_version(log.app_id(item)) for item in partitions}
    return {item: end for item, end in found.items() if end is not None}


def first_offsets(lake: Lake, log: Log) -> Mapping[int, int]:
    """The first offset that bronze holds of each partition of a log."""
    table = lake.newest(spec(log.topic))
    if table is None:
        return {}
    mine = Snapshot.of(table).scan().filter(pl.col("topic_id") == log.id)
    return dict(mine.group_by("partition").agg(pl.col("offset").min()).collect().iter_rows())


def next_slice(
    lake: Lake, log: Log, starts: Mapping[int, int], ends: Mapping[int, int], *, max_rows: int, max_bytes: int
) -> tuple[OffsetRange, ...]:
    """The next piece of bronze between `starts` and `ends`, oldest first, of about one micro-batch.

    Reads coordinates and sizes only, of the oldest files that hold enough; so offsets without records cost nothing.
    """
    pending = tuple(OffsetRange(item, starts[item], ends[item]) for item in sorted(ends) if starts[item] < ends[item])
    table = lake.newest(spec(log.topic))
    if table is None or not pending:
        return pending
    snapshot = Snapshot.of(table).touching("offset", [(item.start, item.end) for item in pending])
    files = snapshot.files.sort("min.ingested_at")
    mine = within(pending) & (pl.col("topic_id") == log.id)
    size = pl.col("value").bin.size().fill_null(0) + pl.col("key").bin.size().fill_null(0)
    taken = 0
    while taken < files.height:
        upto = taken + 1 + int((files["num_records"].slice(taken).cum_sum() < max_rows).sum())
        light = (
            Snapshot(snapshot.schema, files.slice(taken, upto - taken))
            .scan()
            .filter(mine)
            .select("partition", "offset", "ingested_at", size=size)
            .sort("ingested_at", "partition", "offset")
            .collect()
        )
        taken = upto
        if light.is_empty():
            continue
        fits = (light["size"].cum_sum() <= max_bytes) | (pl.arange(0, light.height, eager=True) == 0)
        cut = light.filter(fits).head(max_rows)
        if cut.height == light.height and taken >= files.height:
            return pending
        reached = dict(cut.group_by("partition").agg(pl.col("offset").max() + 1).iter_rows())
        return tuple(
            OffsetRange(item.partition, item.start, reached[item.partition])
            for item in pending
            if item.partition in reached
        )
    return pending
