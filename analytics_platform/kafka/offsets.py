"""Ranges of offsets, and which to read next. Pure: no broker, no clock, no table."""

from collections.abc import Mapping
from dataclasses import dataclass

from analytics_platform.errors import OffsetsExpired, OffsetsRegressed, PartitionGone


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """A half-open range of one partition: `start` is read first, `end` is the next offset to read afterwards."""

    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Watermarks:
    """What a broker holds of a partition: `low` is the first offset kept, `end` the last stable offset (exclusive)."""

    low: int
    end: int


@dataclass(frozen=True, slots=True, order=True)
class Log:
    """Which log a record stands in, wherever and whenever."""

    topic: str
    id: str
    """The cluster's id and the topic's, joined by a slash: a topic that was made again has another one."""

    def app_id(self, partition: int) -> str:
        """The name under which a table keeps this partition's progress in its `txn` actions."""
        return f"kafka:{self.id}/{self.topic}/{partition}"


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as its broker shows it now."""

    topic: str
    cluster_id: str
    topic_id: str
    """Changes when a topic is deleted and made again. Empty where the broker has no topic ids."""
    partitions: Mapping[int, Watermarks]

    @property
    def log(self) -> Log:
        """Which log this is."""
        return Log(self.topic, f"{self.cluster_id}/{self.topic_id}")


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What one micro-batch of a topic reads."""

    topic: str
    ranges: tuple[OffsetRange, ...]
    """Non-empty ranges, by partition."""
    lag: int
    """Offsets between what is stored and the end of the topic, before this plan, over all partitions."""


def plan(state: TopicState, stored: Mapping[int, int], *, first: bool, max_rows: int) -> TopicPlan:
    """What the next micro-batch of a topic reads.

    A cap smaller than the lag is shared in proportion to each partition's lag, and every lagging partition gets at
    least one offset. When not even that fits, the longest lags go first, so that a partition left out moves to the front.

    Args:
        state: The topic now.
        stored: The next offset to read of every partition the table knows.
        first: Whether nothing was ever read of this topic: then it starts at whatever the broker still holds. Otherwise a
            partition that is not stored was added later and starts at 0.
        max_rows: At most so many offsets over all partitions, 1 or more. Offsets without a record count too.

    Raises:
        OffsetsExpired: the broker no longer holds the next offset to read of a partition.
        OffsetsRegressed: a partition ends before what is stored.
        PartitionGone: a stored partition does not exist any more.
    """
    gone = min(stored.keys() - state.partitions.keys(), default=None)
    if gone is not None:
        raise PartitionGone(state.topic, gone, stored[gone])
    starts: dict[int, int] = {}
    lags: dict[int, int] = {}
    for partition, marks in sorted(state.partitions.items()):
        start = stored.get(partition, marks.low if first else 0)
        if start > marks.end:
            raise OffsetsRegressed(state.topic, partition, start, marks.end)
        if start < marks.low:
            raise OffsetsExpired(state.topic, partition, start, marks.low, marks.end)
        starts[partition] = start
        if start < marks.end:
            lags[partition] = marks.end - start
    ranges = (OffsetRange(item, starts[item], starts[item] + rows) for item, rows in _share(lags, max_rows).items())
    return TopicPlan(state.topic, tuple(sorted(ranges)), sum(lags.values()))


def _share(lags: Mapping[int, int], max_rows: int) -> dict[int, int]:
    """`max_rows` over the lagging partitions, by largest remainder after one each; whole lags when they fit."""
    total = sum(lags.values())
    if total <= max_rows:
        return dict(lags)
    if max_rows < len(lags):
        longest = sorted(lags, key=lambda item: (-lags[item], item))
        return dict.fromkeys(longest[:max_rows], 1)
    spare, wanted = max_rows - len(lags), total - len(lags)
    rows = {item: 1 + spare * (lag - 1) // wanted for item, lag in lags.items()}
    by_remainder = sorted(lags, key=lambda item: (-(spare * (lags[item] - 1) % wanted), item))
    for item in by_remainder[: max_rows - sum(rows.values())]:
        rows[item] += 1
    return rows
