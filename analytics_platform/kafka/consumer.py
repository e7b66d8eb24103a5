# ruff: noqa: SLF001  librdkafka's own error codes begin with an underscore, and so do their public names
"""What the cluster holds of a topic, and exactly the ranges of it that are asked for."""

import gc
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import confluent_kafka
import polars as pl
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]

from analytics_platform.errors import (
    BrokerUnavailable,
    KafkaError,
    OffsetsExpired,
    OffsetsRegressed,
    PartitionGone,
    TopicRecreated,
)
from analytics_platform.kafka.client import GROUP, Connection
from analytics_platform.kafka.embedded import CLUSTER_PREFIX
from analytics_platform.kafka.offsets import OffsetRange, TopicState, Watermarks
from analytics_platform.kafka.read import RawBatch, raw_frame
from analytics_platform.kafka.reader import PositionLost, Taken, TopicReader
from analytics_platform.settings import Settings

MAX_READERS = 4
"""Topics read in turn keep their prefetched records; with more topics the one not read for longest loses them."""

_codes = confluent_kafka.KafkaError
_STALE = frozenset(
    {
        _codes._UNKNOWN_PARTITION,
        _codes._UNKNOWN_TOPIC,
        _codes.LEADER_NOT_AVAILABLE,
        _codes.NOT_LEADER_FOR_PARTITION,
        _codes.FENCED_LEADER_EPOCH,
        _codes.UNKNOWN_LEADER_EPOCH,
    }
)
"""Errors that metadata made anew may mend."""
_STALE_PAUSE_S = 0.02

_NO_TOPIC_ID = "A" * 22  # sixteen zero bytes: a broker from before topic ids
_log = logging.getLogger(__name__)


class KafkaLog:
    """The cluster as the platform sees it: states of topics, and ranges of their records. A context manager.

    Not for several threads at once. Where to resume is the caller's to know: no consumer group is ever asked.
    """

    def __init__(self, settings: Settings) -> None:
        """Opens nothing yet; the first call does.

        Raises:
            SettingsError: librdkafka refuses a setting.
        """
        self._settings = settings
        self._connection = Connection(settings.kafka)
        self._admin = self._connection.client(AdminClient, {})
        # `read_committed`: the end of a partition is its last stable offset.
        probe = {"group.id": GROUP, "allow.auto.create.topics": False, "isolation.level": "read_committed"}
        self._probe = self._connection.client(Consumer, probe)
        self._cluster_id = ""
        self._topic_ids: dict[str, str] = {}
        self._readers: dict[str, TopicReader] = {}

    def close(self) -> None:
        """Leave the cluster."""
        while self._readers:
            self._readers.popitem()[1].close()
        self._probe.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the cluster."""
        self.close()

    def state(self, topic: str) -> TopicState:
        """What the broker holds of a topic now; ends are last stable offsets, below every open transaction.

        Nothing of it is cached but the cluster's id: three round trips, a few milliseconds.

        Raises:
            UnknownTopic: there is no such topic; it is not created.
            BrokerUnavailable: no answer within `settings.kafka.timeout`.
            AccessDenied: the cluster refuses.
        """
        doing = f"looking at {topic}"
        topic_id, partitions = self._describe(topic, doing)
        low = self._offsets(topic, partitions, OFFSET_BEGINNING, doing)
        end = self._offsets(topic, partitions, OFFSET_END, doing)
        if self._topic_ids.get(topic, topic_id) != topic_id and topic in self._readers:
            self._readers.pop(
                topic
            ).close()  # it knows the old topic's partitions and leaders, and for minutes no others
        self._topic_ids[topic] = topic_id
        # Asked one after the other, so that records deleted in between can put `low` behind `end` by no fault.
        marks = {partition: Watermarks(low[partition], max(low[partition], end[partition])) for partition in partitions}
        return TopicState(topic, self._cluster_id, topic_id, marks)

    def read(self, topic: str, ranges: Sequence[OffsetRange], *, max_bytes: int) -> RawBatch:
        """The records of exactly these ranges, as far as `max_bytes` allows.

        Offsets without a record (compaction, transactions) are gaps within what is covered. A record that alone is
        larger than `max_bytes` still goes through.

        Args:
            topic: Its name in Kafka.
            ranges: At most one per partition, none of them empty.
            max_bytes: The batch ends early once keys, values and headers reach this.

        Raises:
            OffsetsExpired: records of the ranges were deleted before or while they were read; nothing is returned.
            OffsetsRegressed: a partition ends before its range.
            PartitionGone: there is no such partition.
            RecordsDamaged: bytes on the broker fail their checksum.
            TopicRecreated: the topic is no longer the one that `state` described last.
            BrokerUnavailable: no progress for `settings.kafka.timeout`.
            UnknownTopic: the topic was deleted.
            AccessDenied: the cluster refuses.
        """
        known = self._topic_ids.get(topic)
        reader = self._reader(topic)
        try:
            with _without_cycles():
                taken = reader.read(ranges, max_bytes)
                frame = raw_frame(taken.messages, self._settings.max_value_bytes)
        except PositionLost:
            raise self._why_lost(topic, ranges) from None
        except KafkaException as error:
            raise self._connection_trouble(error, f"reading {topic}", topic) from error
        topic_id, _ = self._describe(topic, f"reading {topic}")
        if known is not None and known != topic_id:
            reader.close()
            raise TopicRecreated(topic, known, topic_id)
        self._refuse_expired_gaps(topic, taken, frame)
        return RawBatch(frame, taken.ranges, taken.size_bytes)

    def commit_hint(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Tell the consumer group `analytics-platform` how far a topic is done, for tools that show lag.

        Called after the tables have it, at the end of a burst. Trouble is logged and forgotten: nothing reads it back.

        Args:
            topic: Its name in Kafka.
            offsets: The next offset to read, by partition.
        """
        partitions = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        if not partitions:
            return
        request = [ConsumerGroupTopicPartitions(GROUP, partitions)]
        try:
            for future in self._admin.alter_consumer_group_offsets(
                request, request_timeout=self._connection.timeout_s
            ).values():
                future.result()
        except KafkaException as error:
            _log.warning("%s: the consumer group was not told of the progress: %s", topic, error.args[0].str())

    def _describe(self, topic: str, doing: str) -> tuple[str, list[int]]:
        """Id and partitions of a topic."""
        if not self._cluster_id:
            self._cluster_id = self._metadata(topic, doing).cluster_id or ""
        if self._cluster_id.startswith(CLUSTER_PREFIX):
            # librdkafka's mock cluster has no controller and would let a description wait for one.
            return self._describe_embedded(topic, doing)
        timeout = self._connection.timeout_s
        try:
            described = self._admin.describe_topics(TopicCollection([topic]), request_timeout=timeout)[topic].result()
        except KafkaException as error:
            raise self._connection_trouble(error, doing, topic) from error
        # Kafka's own tools write ids in the alphabet that is safe in names and addresses; librdkafka does not.
        topic_id = str(described.topic_id).replace("+", "-").replace("/", "_")
        return "" if topic_id == _NO_TOPIC_ID else topic_id, sorted(item.id for item in described.partitions)

    def _describe_embedded(self, topic: str, doing: str) -> tuple[str, list[int]]:
        found = self._metadata(topic, doing).topics[topic]
        if found.error is not None:
            raise self._connection_trouble(found.error, doing, topic)
        return "", sorted(found.partitions)

    def _offsets(self, topic: str, partitions: Sequence[int], which: int, doing: str) -> dict[int, int]:
        """The first or the last stable offset of each partition, in one request per broker.

        Kafka's ListOffsets takes the two special offsets in place of a time. The admin client's call of that name
        would do the same, but answers from a thread of librdkafka's (where a run of the cycle collector crashes the
        process, confluent-kafka-python#1761) and never frees what it was asked (#1901): wrong for ten looks a second.
        """
        deadline = time.monotonic() + self._connection.timeout_s
        while True:
            found, error = self._listed(topic, partitions, which)
            if error is None:
                return {item.partition: item.offset for item in found}
            if error.code() not in _STALE or time.monotonic() > deadline:
                raise self._connection_trouble(error, doing, topic)
            # What librdkafka remembers of the topic is older than a partition, a right or a leader: made anew here. A
            # broker may itself hear of them a moment after the one that described the topic.
            self._metadata(topic, doing)
            time.sleep(_STALE_PAUSE_S)

    def _listed(
        self, topic: str, partitions: Sequence[int], which: int
    ) -> tuple[list[TopicPartition], confluent_kafka.KafkaError | None]:
        """What was answered, and the first thing that is wrong with it."""
        asked = [TopicPartition(topic, partition, which) for partition in partitions]
        try:
            found = self._probe.offsets_for_times(asked, timeout=self._connection.timeout_s) if asked else []
        except KafkaException as raised:
            return [], raised.args[0]
        return found, next((item.error for item in found if item.error is not None), None)

    def _metadata(self, topic: str, doing: str) -> ClusterMetadata:
        try:
            found: ClusterMetadata = self._probe.list_topics(topic, timeout=self._connection.timeout_s)
        except KafkaException as error:
            raise self._connection_trouble(error, doing, topic) from error
        return found

    def _connection_trouble(
        self, error: KafkaException | confluent_kafka.KafkaError, doing: str, topic: str
    ) -> KafkaError:
        for client in (self._probe, self._admin):
            client.poll(0)  # hands over what librdkafka said meanwhile: a refused login among it
        return self._connection.trouble(error, doing, topic)

    def _reader(self, topic: str) -> TopicReader:
        reader = self._readers.pop(topic, None) or TopicReader(self._connection, topic)
        while len(self._readers) >= MAX_READERS:
            self._readers.pop(next(iter(self._readers))).close()
        self._readers[topic] = reader  # behind the others: a dict keeps the order of use
        return reader

    def _why_lost(self, topic: str, ranges: Sequence[OffsetRange]) -> KafkaError:
        """Why a read could not go on from where it stood."""
        partitions = self.state(topic).partitions
        for item in sorted(ranges):
            marks = partitions.get(item.partition)
            if marks is None:
                return PartitionGone(topic, item.partition, item.start)
            if item.start < marks.low:
                return OffsetsExpired(topic, item.partition, item.start, marks.low, marks.end)
            if item.start > marks.end:
                return OffsetsRegressed(topic, item.partition, item.start, marks.end)
        servers, timeout_s = self._connection.servers, self._connection.timeout_s
        return BrokerUnavailable(servers, f"reading {topic}", f"no records of the ranges for {timeout_s:g} s")

    def _refuse_expired_gaps(self, topic: str, taken: Taken, frame: pl.DataFrame) -> None:
        """A gap that lies below what the broker holds by now may be records that expired while we read."""
        counted = dict(frame.group_by("partition").len().iter_rows())
        gaps = [item for item in taken.ranges if counted.get(item.partition, 0) < item.end - item.start]
        if not gaps:
            return
        partitions = self.state(topic).partitions
        for item in gaps:
            marks = partitions[item.partition]
            read = frame.filter(pl.col("partition") == item.partition)["offset"]
            below = read.is_between(item.start, marks.low - 1).sum()
            if below < min(item.end, marks.low) - item.start:
                raise OffsetsExpired(topic, item.partition, item.start, marks.low, marks.end)


@contextmanager
def _without_cycles() -> Iterator[None]:
    """Python's cycle collector off: messages form no cycles, and looking through them costs a third of a read."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
