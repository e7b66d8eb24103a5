# ruff: noqa: SLF001  librdkafka's own error codes begin with an underscore, and so do their public names
"""Exactly the asked offsets of one topic, by one assigned consumer that prefetches between two reads."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, Message, TopicPartition

from analytics_platform.errors import RecordsDamaged
from analytics_platform.kafka.client import GROUP, Connection
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.read import headers_of

PREFETCH_BYTES = 16 * 1024 * 1024
"""What librdkafka fetches ahead of us per topic; one response more may be on its way."""
HELD_BYTES = 4 * 1024 * 1024
"""A partition that nobody reads now is paused once so much of it is waiting here."""
CHUNK_ROWS = 10_000
CHUNK_S = 0.1
"""One call fills a chunk or waits so long; then the caller's deadline is looked at."""
_ROW_BYTES = 400
"""Of a message object around its value, roughly; so that many tiny ones count too."""

_codes = confluent_kafka.KafkaError


class PositionLost(Exception):
    """A partition could not be read on from where it stood; `KafkaLog` finds out why."""


@dataclass(slots=True)
class Lane:
    """One assigned partition."""

    position: int
    """Everything below came from the broker, or is not there: a gap of compaction or of transactions."""
    held: deque[Message] = field(default_factory=deque)
    """Delivered and not yet handed out, in the order of offsets."""
    start: int = 0
    """The next offset to hand out."""
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What one read handed out."""

    messages: list[Message]
    """By partition and offset."""
    ranges: tuple[OffsetRange, ...]
    size_bytes: int


class TopicReader:
    """Reads ranges of one topic; what comes past a range's end is held for the next read.

    A consumer's position is set once, when a partition is assigned. A read that starts anywhere else gets a new
    consumer: that is rare (a failed commit, a rebuild), and no message of the old position can come through.
    """

    def __init__(self, connection: Connection, topic: str) -> None:
        """Opens nothing yet."""
        self._connection = connection
        self._topic = topic
        self._consumer: Consumer | None = None
        self._lanes: dict[int, Lane] = {}
        self._chunk_rows = 100  # until the first chunk shows how large records are

    def close(self) -> None:
        """Forget what is held and leave the cluster."""
        consumer, self._consumer = self._consumer, None
        self._lanes = {}
        if consumer is not None:
            consumer.close()

    def read(self, ranges: Sequence[OffsetRange], max_bytes: int) -> Taken:
        """The records of these ranges, until all are covered or keys, values and headers reach `max_bytes`.

        Raises:
            PositionLost: the broker lacks what comes next, or sent nothing for as long as a request may take.
            RecordsDamaged: bytes that fail their checksum.
            KafkaError: the cluster refuses.
        """
        try:
            return self._read(ranges, max_bytes)
        except BaseException:
            self.close()  # messages already taken are gone: the next read must fetch them again
            raise

    def _read(self, ranges: Sequence[OffsetRange], max_bytes: int) -> Taken:
        consumer = self._aligned(ranges)
        ends = {item.partition: item.end for item in ranges}
        taken: dict[int, list[Message]] = {partition: [] for partition in sorted(ends)}
        size = self._take(ends, taken, max_bytes)
        deadline = time.monotonic() + self._connection.timeout_s
        while size < max_bytes:
            missing = sum(max(0, end - self._lanes[item].position) for item, end in ends.items())
            if not missing:
                break
            chunk = consumer.consume(min(missing, self._chunk_rows), CHUNK_S)
            if self._accept(chunk, ends):
                deadline = time.monotonic() + self._connection.timeout_s
            elif time.monotonic() > deadline:
                raise PositionLost
            size += self._take(ends, taken, max_bytes - size)
            self._pause_the_rest(consumer, ends)
        return Taken([message for messages in taken.values() for message in messages], self._covered(ranges), size)

    def _aligned(self, ranges: Sequence[OffsetRange]) -> Consumer:
        """The consumer, standing where these ranges start."""
        lanes = self._lanes
        if any(item.partition in lanes and lanes[item.partition].start != item.start for item in ranges):
            self.close()
        if self._consumer is None:
            self._consumer = self._connection.client(Consumer, CONFIG)
            self._consumer.assign([])
        new = [item for item in ranges if item.partition not in self._lanes]
        if new:
            self._consumer.incremental_assign([TopicPartition(self._topic, item.partition, item.start) for item in new])
            self._lanes |= {item.partition: Lane(position=item.start, start=item.start) for item in new}
        for item in ranges:
            lane = self._lanes[item.partition]
            if lane.paused and lane.position < item.end:
                self._consumer.resume([TopicPartition(self._topic, item.partition)])
                lane.paused = False
        return self._consumer

    def _accept(self, chunk: Sequence[Message], ends: Mapping[int, int]) -> bool:
        """Put a chunk's messages behind their lanes; whether that brought any asked partition on."""
        before = {partition: self._lanes[partition].position for partition in ends}
        lanes = self._lanes
        # Unbound methods under `map` cost half of what calls in a loop do, and this runs for every record.
        columns: Iterable[tuple[Message, Any, Any, Any]] = zip(
            chunk, map(Message.error, chunk), map(Message.partition, chunk), map(Message.offset, chunk), strict=True
        )
        for message, error, partition, offset in columns:
            if error is not None:
                self._accept_event(error, partition, offset)
                continue
            lane = lanes[partition]
            if offset >= lane.position:  # never twice, whatever librdkafka does after a pause
                lane.position = offset + 1
                lane.held.append(message)
        if chunk:
            size = sum(map(len, chunk)) // len(chunk) + _ROW_BYTES
            self._chunk_rows = max(1, min(CHUNK_ROWS, PREFETCH_BYTES // 4 // size))
        return any(self._lanes[partition].position > position for partition, position in before.items())

    def _accept_event(self, error: confluent_kafka.KafkaError, partition: int, offset: int) -> None:
        code = error.code()
        if code == _codes._PARTITION_EOF:
            lane = self._lanes[partition]
            lane.position = max(lane.position, offset)
        elif code in {_codes._AUTO_OFFSET_RESET, _codes.OFFSET_OUT_OF_RANGE, _codes._LOG_TRUNCATION}:
            raise PositionLost
        elif code in {_codes._BAD_MSG, _codes.INVALID_MSG, _codes._BAD_COMPRESSION}:
            raise RecordsDamaged(self._topic, partition, self._lanes[partition].position, error.str())
        elif code != _codes.GROUP_AUTHORIZATION_FAILED and not self._connection.passing(error):
            # The group is librdkafka's wish, not ours: who may read the topic may read it.
            raise self._connection.trouble(error, f"reading {self._topic}", self._topic)

    def _take(self, ends: Mapping[int, int], taken: Mapping[int, list[Message]], max_bytes: int) -> int:
        """Move held messages below their ends to `taken`: at least one, then until `max_bytes`. Returns their bytes."""
        size = 0
        for partition, messages in taken.items():
            held, end = self._lanes[partition].held, ends[partition]
            if held and _offset(held[-1]) < end and size + (all_of_them := message_bytes(held)) < max_bytes:
                messages.extend(held)
                held.clear()
                size += all_of_them
            while held and size < max_bytes and _offset(held[0]) < end:
                messages.append(held.popleft())
                size += message_bytes(messages[-1:])
        return size

    def _pause_the_rest(self, consumer: Consumer, ends: Mapping[int, int]) -> None:
        """Stop fetching partitions that have what this read wants of them and hold enough for the next."""
        for partition, lane in self._lanes.items():
            if lane.paused or not lane.held or lane.position < ends.get(partition, 0):
                continue
            if sum(map(len, lane.held)) + _ROW_BYTES * len(lane.held) > HELD_BYTES:
                consumer.pause([TopicPartition(self._topic, partition)])
                lane.paused = True

    def _covered(self, ranges: Sequence[OffsetRange]) -> tuple[OffsetRange, ...]:
        covered = []
        for item in sorted(ranges):
            lane = self._lanes[item.partition]
            lane.start = min(item.end, _offset(lane.held[0]) if lane.held else lane.position)
            if lane.start > item.start:
                covered.append(OffsetRange(item.partition, item.start, lane.start))
        return tuple(covered)


def message_bytes(messages: Iterable[Message]) -> int:
    """Keys, values, header names and header values together."""
    messages = list(messages)
    size = sum(map(len, messages))  # of a message: its value's
    size += sum(map(len, filter(None, map(Message.key, messages))))
    each: Any  # a list of pairs, whatever the stub says
    for each in filter(None, headers_of(messages)):
        size += sum(len(name) + len(value or b"") for name, value in each)
    return size


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None  # noqa: S101  only an error has none
    return offset


CONFIG: Mapping[str, object] = {
    "group.id": GROUP,
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "check.crcs": True,
    "allow.auto.create.topics": False,
    "queued.max.messages.kbytes": PREFETCH_BYTES // 1024,
    "fetch.max.bytes": PREFETCH_BYTES // 2,
    # The embedded broker answers an empty fetch only when this is over, whatever came meanwhile.
    "fetch.wait.max.ms": 100,
    # Default a second: so long would a full prefetch queue keep the broker idle after it has room again.
    "fetch.queue.backoff.ms": 10,
}
