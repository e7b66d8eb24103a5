"""Topics made and records sent: for the demo, the command line and the tests. The platform's own path never produces."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import confluent_kafka
from confluent_kafka import OFFSET_END, Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from analytics_platform.errors import KafkaError, NotDelivered, UnknownTopic
from analytics_platform.kafka.client import GROUP, Connection
from analytics_platform.kafka.embedded import CLUSTER_PREFIX, PARTITIONS
from analytics_platform.settings import KafkaSettings

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Record:
    """One record to send."""

    key: bytes | None
    value: bytes | None
    """None is a tombstone."""
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = None
    """Milliseconds since 1970; None lets librdkafka take the time of sending."""
    partition: int | None = None
    """None lets the hash of the key decide."""


def send(kafka: KafkaSettings, topic: str, records: Iterable[Record]) -> int:
    """Send records in order, each partition's order kept, and wait until the broker has acknowledged all.

    Records leave while the iterable still yields, so a slow one paces the sending; memory stays bounded by the send
    queue. On the embedded broker an unknown topic is created, elsewhere as the broker is configured.

    Returns:
        How many were acknowledged: all of them.

    Raises:
        NotDelivered: at least one was not.
        UnknownTopic: there is no such topic and the broker makes none.
        BrokerUnavailable: no answer to the first request.
        AccessDenied: the cluster refuses.
    """
    sender = Sender(kafka)
    try:
        sender.know(topic)
        for record in records:
            sender.put(topic, record)
    finally:
        sender.close()
    return sender.flush()


class Sender:
    """A connection by which records are sent as they come; one thread at a time may use it.

    Idempotent: a record that librdkafka sends again stands in the log once. The order of a partition is kept.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        """Asks nothing of the cluster yet."""
        self._connection = Connection(kafka)
        timeout_ms = int(3000 * self._connection.timeout_s)
        self._producer = self._connection.client(Producer, {**_CONFIG, "message.timeout.ms": timeout_ms})
        self._known: set[str] = set()
        self._tallies: dict[str, _Tally] = {}

    def know(self, topic: str) -> None:
        """Make sure that a topic is there, the first time it is named.

        Raises:
            UnknownTopic: there is no such topic and the broker makes none.
            BrokerUnavailable: no answer.
            AccessDenied: the cluster refuses.
        """
        if topic not in self._known:
            _know(self._connection, self._producer, topic)
            self._known.add(topic)

    def put(self, topic: str, record: Record, *, reported: Callable[[str | None], None] | None = None) -> None:
        """Hand over a record; waits only while the send queue is full. It is sent for certain after `flush`.

        Args:
            topic: Known, see `know`.
            record: What to send.
            reported: Called once, from within a later call, with None or why the record did not reach the broker.
        """
        tally = self._tallies.get(topic)
        if tally is None:
            tally = self._tallies[topic] = _Tally()
        tally.sent += 1
        _queue(self._producer, topic, record, tally, reported)
        self._producer.poll(0)

    def flush(self) -> int:
        """Wait until the broker has everything that was handed over since the last time.

        Returns:
            How many records that were.

        Raises:
            NotDelivered: some did not arrive; of the first topic with such.
        """
        self.close()
        tallies, self._tallies = self._tallies, {}
        for topic, tally in tallies.items():
            if tally.failed:
                raise NotDelivered(topic, tally.failed, tally.sent, tally.reason)
        return sum(tally.acknowledged for tally in tallies.values())

    def close(self) -> None:
        """Wait for what was handed over, whatever becomes of it."""
        self._producer.flush()  # ends at the latest when the last record's time is over


def create_topic(
    kafka: KafkaSettings, topic: str, *, partitions: int = PARTITIONS, config: Mapping[str, str] = _NOTHING
) -> bool:
    """Create a topic and wait until the cluster answers for all its partitions.

    Args:
        kafka: The cluster; its own default decides the replication.
        topic: Its name.
        partitions: How many; the embedded broker can only do the default.
        config: Topic settings in Kafka's own names; the embedded broker knows none.

    Returns:
        False when the topic was there already; it is left as it is.

    Raises:
        BrokerUnavailable: no answer in time.
        AccessDenied: the cluster refuses.
        KafkaError: the cluster does not take the name or the settings.
    """
    connection = Connection(kafka)
    admin = connection.client(AdminClient, {})
    doing = f"creating {topic}"
    try:
        if admin.list_topics(timeout=connection.timeout_s).cluster_id.startswith(CLUSTER_PREFIX):
            if partitions != PARTITIONS or config:
                raise KafkaError(
                    f"{topic}: the embedded broker makes topics of {PARTITIONS} partitions, without settings."
                )
            there = topic in admin.list_topics(timeout=connection.timeout_s).topics
            admin.list_topics(topic, timeout=connection.timeout_s)  # asking for it makes it
            return not there
        new = NewTopic(topic, num_partitions=partitions, config=dict(config))
        admin.create_topics([new], request_timeout=connection.timeout_s)[topic].result()
        with closing(connection.client(Consumer, {"group.id": GROUP})) as probe:
            deadline = time.monotonic() + connection.timeout_s
            while not _answers(probe, topic, partitions):
                if time.monotonic() > deadline:
                    raise connection.trouble(TimeoutError(), doing)
                time.sleep(0.02)
    except KafkaException as error:
        if error.args[0].code() == confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise connection.trouble(error, doing) from error
    return True


@dataclass(slots=True)
class _Tally:
    """What became of the records."""

    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    reason: str = ""

    def report(self, error: confluent_kafka.KafkaError | None, message: Message) -> None:  # noqa: ARG002  librdkafka's order
        if error is None:
            self.acknowledged += 1
        else:
            self.fail(error.str())

    def fail(self, reason: str) -> None:
        self.failed += 1
        self.reason = self.reason or reason


def _know(connection: Connection, producer: Any, topic: str) -> None:
    """Ask for the topic first: an unknown one would only show after half a minute, as undelivered records."""
    doing = f"sending to {topic}"
    try:
        found = producer.list_topics(topic, timeout=connection.timeout_s).topics[topic]
    except KafkaException as error:
        producer.poll(0)
        raise connection.trouble(error, doing, topic) from error
    # A broker that makes topics as they are asked for says at first that it has no leader yet.
    if found.error is not None and isinstance(trouble := connection.trouble(found.error, doing, topic), UnknownTopic):
        raise trouble


def _queue(
    producer: Any, topic: str, record: Record, tally: _Tally, reported: Callable[[str | None], None] | None
) -> None:
    if not all(name.isascii() or _is_text(name) for name, _value in record.headers):
        _fail(tally, reported, "the name of a header is not UTF-8")  # librdkafka's Python client would crash on it
        return
    while True:
        try:
            producer.produce(
                topic,
                value=record.value,
                key=record.key,
                partition=-1 if record.partition is None else record.partition,
                on_delivery=tally.report if reported is None else partial(_report, tally, reported),
                timestamp=record.timestamp_ms or 0,
                headers=list(record.headers) or None,
            )
        except BufferError:
            producer.poll(0.1)
        except KafkaException as error:
            _fail(tally, reported, error.args[0].str())
            return
        else:
            return


def _report(
    tally: _Tally, reported: Callable[[str | None], None], error: confluent_kafka.KafkaError | None, message: Message
) -> None:
    tally.report(error, message)
    reported(None if error is None else error.str())


def _fail(tally: _Tally, reported: Callable[[str | None], None] | None, reason: str) -> None:
    tally.fail(reason)
    if reported is not None:
        reported(reason)


def _is_text(name: str) -> bool:
    """Whether it can be written as UTF-8: half a surrogate pair, which JSON's escapes can say, cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _answers(probe: Any, topic: str, partitions: int) -> bool:
    """Whether every partition's leader knows that it is one: a moment after the topic is there."""
    asked = [TopicPartition(topic, partition, OFFSET_END) for partition in range(partitions)]
    try:
        probe.list_topics(topic, timeout=1)  # else it may go on believing that there is no such topic
        return all(item.error is None for item in probe.offsets_for_times(asked, timeout=1))
    except KafkaException:
        return False


_CONFIG: Mapping[str, object] = {
    "enable.idempotence": True,
    "linger.ms": 5,
    "batch.size": 1024 * 1024,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 64 * 1024,
    # The broker's limit decides, not the client's.
    "message.max.bytes": 100_000_000,
}
