"""The newest records of a topic, to look at; nothing is stored and no group is told."""

from typing import Any

from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import OffsetRange, TopicState
from analytics_platform.settings import Settings

_MAX_BYTES = 64 * 1024 * 1024


def newest(settings: Settings, topic: str, rows: int) -> list[dict[str, Any]]:
    """About so many records from the ends of all partitions, as rows of `RAW_SCHEMA`, at most 64 MiB of them.

    Fewer where offsets have no record (compaction, transactions) or one partition holds less than its share.

    Raises:
        UnknownTopic: there is no such topic; it is not created.
        BrokerUnavailable: no answer.
        AccessDenied: the cluster refuses.
        OffsetsExpired: records went while they were read; try again.
    """
    with KafkaLog(settings) as log:
        ranges = _ends(log.state(topic), rows)
        return log.read(topic, ranges, max_bytes=_MAX_BYTES).frame.rows(named=True) if ranges else []


def _ends(state: TopicState, rows: int) -> list[OffsetRange]:
    """The same number of offsets from the end of each partition that holds any; at least one of each."""
    held = {partition: marks for partition, marks in sorted(state.partitions.items()) if marks.low < marks.end}
    each = max(1, rows // max(1, len(held)))
    return [OffsetRange(partition, max(marks.low, marks.end - each), marks.end) for partition, marks in held.items()]
