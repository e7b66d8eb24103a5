"""Offsets that expired before they were read: an operator accepts the loss, and the bronze table records it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from analytics_platform import bronze, gold
from analytics_platform.catchup import catch_up
from analytics_platform.contract.model import Domain
from analytics_platform.errors import TopicRecreated
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import Log, OffsetRange, TopicState
from analytics_platform.lake.commit import Change, Move, commit
from analytics_platform.lake.files import Pinned, Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import Settings


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets `[start, end)` of a partition that were never read and never will be."""

    topic: str
    partition: int
    start: int
    end: int
    accepted_at: datetime


def find(topic: str, settings: Settings) -> list[OffsetRange]:
    """The offsets of a topic that expired before they were read, by partition.

    For a topic that was deleted and made again there is nothing to give up but the end of the old one, which nobody
    knows: then the list is empty, and `accept` starts the new one.

    Raises:
        UnknownTopic: the topic does not exist.
    """
    lake = Lake(settings.lake, settings.fsync)
    with KafkaLog(settings) as log:
        state = log.state(topic)
        try:
            have = bronze.stored(lake, state)
        except TopicRecreated:
            return []
    return _expired(state, have)


def accept(domain: Domain, topic: str, settings: Settings, *, clock: Callable[[], datetime]) -> list[Gap]:
    """Give up the expired offsets of a topic, or go on with a topic that was made again.

    What bronze holds of the topic is taken into silver first, so that nothing read before is forgotten.
    Durable on return: a row in bronze for each gap, and the progress past it, in one commit.
    If it dies halfway: the gap is accepted or it is not; calling again is safe.

    Raises:
        UnknownTopic: the topic does not exist.
    """
    lake = Lake(settings.lake, settings.fsync)
    with KafkaLog(settings) as log:
        state = log.state(topic)
    at = bronze.instant(clock())
    try:
        have = bronze.stored(lake, state)
    except TopicRecreated as error:
        _finish(lake, domain, Log(topic, error.known), settings, clock)
        _start_over(lake, state, at)
        return []
    expired = _expired(state, have)
    moves = [Move(state.log.app_id(item.partition), item, fresh=item.partition not in have.offsets) for item in expired]

    def change(_table: Pinned, left: tuple[Move, ...]) -> Change:
        return Change(_rows(state.log, [move.range for move in left], at))

    if moves:
        commit(lake, bronze.spec(topic), change, moves)
    return [Gap(topic, item.partition, item.start, item.end, at) for item in expired]


def accepted(domain: Domain, settings: Settings) -> list[Gap]:
    """Every gap that was ever accepted in a domain, by topic, partition and offset."""
    lake = Lake(settings.lake, settings.fsync)
    found: list[Gap] = []
    for topic in domain.topics:
        table = lake.newest(bronze.spec(topic))
        if table is None:
            continue
        snapshot = Snapshot.of(table)
        lost = pl.col("gap_end").is_not_null() & ~bronze.is_forgotten(snapshot.schema)
        rows = snapshot.scan().filter(lost)
        gaps = rows.select("partition", "offset", "gap_end", "ingested_at").collect().sort(pl.all())
        found.extend(Gap(topic, *row) for row in gaps.iter_rows())
    return found


def _expired(state: TopicState, have: bronze.Stored) -> list[OffsetRange]:
    starts = {item: have.start(state, item) for item in state.partitions}
    return [
        OffsetRange(item, starts[item], marks.low)
        for item, marks in sorted(state.partitions.items())
        if starts[item] < marks.low
    ]


def _rows(log: Log, ranges: list[OffsetRange], at: datetime) -> pl.DataFrame:
    rows = [
        {
            "topic": log.topic,
            "topic_id": log.id,
            "partition": item.partition,
            "offset": item.start,
            "ingested_at": at,
            "gap_end": item.end,
        }
        for item in ranges
        if item.start < item.end
    ]
    return pl.DataFrame(rows, schema=bronze.SCHEMA)


def _finish(lake: Lake, domain: Domain, log: Log, settings: Settings, clock: Callable[[], datetime]) -> None:
    """Take in what bronze has of the log that is gone, down to the marts: from now on they look at the new log only.

    Event types that are halted are no exception: nobody would take their records in later.
    """
    partitions = sorted(bronze.first_offsets(lake, log))
    with SchemaBook(lake, domain.name, settings.registry) as book:
        catch_up(lake, domain, log, partitions, settings, book=book, clock=clock)
    # A broken mart starts over from all of silver once it is mended.
    list(gold.refresh(lake, domain, {log.topic: (log, partitions)}))


def _start_over(lake: Lake, state: TopicState, at: datetime) -> None:
    """Record the new log's partitions at their lows, so that it is known from now on; what expired of it is a gap."""
    lows = [OffsetRange(item, 0, marks.low) for item, marks in sorted(state.partitions.items())]
    moves = [Move(state.log.app_id(item.partition), item, fresh=True) for item in lows]

    def change(_table: Pinned, left: tuple[Move, ...]) -> Change:
        return Change(_rows(state.log, [move.range for move in left], at))

    commit(lake, bronze.spec(state.topic), change, moves)
