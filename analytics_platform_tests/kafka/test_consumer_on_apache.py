"""What only Apache Kafka can show: deletion, transactions, compaction, new partitions, topic ids."""

import time
from contextlib import contextmanager, suppress

import polars as pl
import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]
from polars.testing import assert_frame_equal

from analytics_platform.errors import (
    BrokerUnavailable,
    OffsetsExpired,
    TopicRecreated,
)
from analytics_platform.kafka.offsets import OffsetRange, Watermarks, plan
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.kafka.read import RAW_SCHEMA
from analytics_platform_tests.kafka.conftest import new_name, numbers, values, whole

MB = 1024 * 1024


@contextmanager
def transaction(settings, topic, count, *, start=0):
    """`count` records of an open transaction, flushed to the broker; yields the producer to end it with."""
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers, "transactional.id": new_name()})
    producer.init_transactions(10)
    producer.begin_transaction()
    for record in numbers(count, start=start):
        producer.produce(topic, record.value, partition=0)
    producer.flush(10)
    yield producer


def ended(log, topic, end):
    """Wait until the broker has written a transaction's marker, which it does after the producer was told."""
    deadline = time.monotonic() + 20
    while log.state(topic).partitions != {0: Watermarks(0, end)}:
        assert time.monotonic() < deadline, log.state(topic)


def test_expired_by_deleted_records(apache_settings, apache_topic, apache_log, admin):
    name = apache_topic()
    send(apache_settings.kafka, name, numbers(10))
    admin.delete_records([TopicPartition(name, 0, 6)])[TopicPartition(name, 0, 6)].result()
    state = apache_log.state(name)
    assert state.partitions == {0: Watermarks(6, 10)}
    with pytest.raises(OffsetsExpired, match=r"offsets 4\.\.6 expired .* holds 6\.\.10"):
        apache_log.read(name, [OffsetRange(0, 4, 10)], max_bytes=MB)
    assert values(apache_log.read(name, whole(state), max_bytes=MB).frame) == [b"6", b"7", b"8", b"9"]


def test_records_deleted_while_they_are_read_are_never_skipped(apache_settings, apache_topic, apache_log, admin):
    name = apache_topic()
    body = b"x" * 100_000  # more than is fetched ahead
    send(apache_settings.kafka, name, [Record(None, body, partition=0) for _ in range(600)])
    apache_log.read(name, [OffsetRange(0, 0, 5)], max_bytes=100 * MB)
    admin.delete_records([TopicPartition(name, 0, 590)])[TopicPartition(name, 0, 590)].result()
    with pytest.raises(OffsetsExpired) as caught:
        apache_log.read(name, [OffsetRange(0, 5, 600)], max_bytes=100 * MB)
    assert (caught.value.start, caught.value.low, caught.value.end) == (5, 590, 600)


def test_all_that_was_fetched_before_it_expired_is_good(apache_settings, apache_topic, apache_log, admin):
    name = apache_topic()
    send(apache_settings.kafka, name, numbers(20))
    apache_log.read(name, [OffsetRange(0, 0, 5)], max_bytes=MB)
    lane = apache_log._readers[name]._lanes[0]
    while lane.position < 20:  # all of it is here before it goes
        apache_log._readers[name]._accept(apache_log._readers[name]._consumer.consume(20, 0.05), {0: 20})
    admin.delete_records([TopicPartition(name, 0, 15)])[TopicPartition(name, 0, 15)].result()
    batch = apache_log.read(name, [OffsetRange(0, 5, 20)], max_bytes=MB)
    assert batch.frame["offset"].to_list() == list(range(5, 20))


def test_gap_that_retention_has_passed_may_be_a_loss(apache_settings, apache_topic, apache_log, admin):
    name = apache_topic()
    with transaction(apache_settings, name, 3) as producer:
        producer.abort_transaction(10)
    send(apache_settings.kafka, name, numbers(4))
    ended(apache_log, name, 8)
    reader = apache_log._reader(name)
    reader._aligned([OffsetRange(0, 0, 8)])
    while reader._lanes[0].position < 8:  # all of it is here before it goes
        reader._accept(reader._consumer.consume(20, 0.05), {0: 8})
    admin.delete_records([TopicPartition(name, 0, 6)])[TopicPartition(name, 0, 6)].result()
    with pytest.raises(OffsetsExpired) as caught:
        apache_log.read(name, [OffsetRange(0, 0, 8)], max_bytes=MB)
    assert (caught.value.start, caught.value.low, caught.value.end) == (0, 6, 8)


def test_aborted_transaction_is_a_gap(apache_settings, apache_topic, apache_log):
    name = apache_topic()
    send(apache_settings.kafka, name, numbers(2))
    with transaction(apache_settings, name, 3) as producer:
        producer.abort_transaction(10)
    send(apache_settings.kafka, name, numbers(2, start=10))
    ended(apache_log, name, 8)  # 2 records, 3 aborted, a marker, 2 records
    state = apache_log.state(name)
    batch = apache_log.read(name, whole(state), max_bytes=MB)
    assert batch.frame["offset"].to_list() == [0, 1, 6, 7]
    assert batch.ranges == (OffsetRange(0, 0, 8),)


def test_range_of_nothing_but_an_aborted_transaction(apache_settings, apache_topic, apache_log):
    name = apache_topic()
    with transaction(apache_settings, name, 3) as producer:
        producer.abort_transaction(10)
    ended(apache_log, name, 4)
    batch = apache_log.read(name, [OffsetRange(0, 0, 4)], max_bytes=MB)
    assert_frame_equal(batch.frame, pl.DataFrame(schema=RAW_SCHEMA))
    assert (batch.ranges, batch.size_bytes) == ((OffsetRange(0, 0, 4),), 0)


def test_marker_at_the_end_of_a_committed_transaction(apache_settings, apache_topic, apache_log):
    name = apache_topic()
    with transaction(apache_settings, name, 2) as producer:
        producer.commit_transaction(10)
    ended(apache_log, name, 3)
    batch = apache_log.read(name, [OffsetRange(0, 0, 3)], max_bytes=MB)
    assert (values(batch.frame), batch.ranges) == ([b"0", b"1"], (OffsetRange(0, 0, 3),))
    send(apache_settings.kafka, name, numbers(1, start=9))
    batch = apache_log.read(name, [OffsetRange(0, 3, 4)], max_bytes=MB)
    assert (values(batch.frame), batch.ranges) == ([b"9"], (OffsetRange(0, 3, 4),))


def test_open_transaction_bounds_the_end(apache_settings, apache_topic, apache_log):
    name = apache_topic()
    send(apache_settings.kafka, name, numbers(2))
    with transaction(apache_settings, name, 2, start=50) as producer:
        send(apache_settings.kafka, name, numbers(1, start=90))
        state = apache_log.state(name)
        assert state.partitions == {0: Watermarks(0, 2)}
        assert values(apache_log.read(name, whole(state), max_bytes=MB).frame) == [b"0", b"1"]
        producer.commit_transaction(10)
    ended(apache_log, name, 6)
    batch = apache_log.read(name, [OffsetRange(0, 2, 6)], max_bytes=MB)
    assert values(batch.frame) == [b"50", b"51", b"90"]


def test_compacted_topic_has_gaps(apache_settings, apache_topic, apache_log):
    name = apache_topic(
        cleanup_policy="compact", min_cleanable_dirty_ratio="0.01", segment_ms="100", max_compaction_lag_ms="100"
    )
    for _ in range(2):
        send(apache_settings.kafka, name, [Record(b"k%d" % number, b"v", partition=0) for number in range(5)])
    deadline = time.monotonic() + 60
    while True:
        send(apache_settings.kafka, name, [Record(b"again", b"v", partition=0)])  # closes the segment before it
        state = apache_log.state(name)
        batch = apache_log.read(name, whole(state), max_bytes=MB)
        assert batch.ranges == tuple(whole(state))
        assert batch.frame.filter(pl.col("offset") >= 5)["key"].head(5).to_list() == [
            b"k%d" % number for number in range(5)
        ]
        if batch.frame["offset"][0] >= 5:
            break
        assert time.monotonic() < deadline, "the broker did not compact"


def test_partitions_added(apache_settings, apache_topic, apache_log, admin):
    name = apache_topic(partitions=1)
    send(apache_settings.kafka, name, numbers(2))
    apache_log.read(name, [OffsetRange(0, 0, 2)], max_bytes=MB)
    admin.create_partitions([NewPartitions(name, 3)])[name].result()
    deadline = time.monotonic() + 20
    while True:
        with suppress(BrokerUnavailable):  # a new partition has no leader for a moment
            if len(apache_log.state(name).partitions) == 3:
                break
        assert time.monotonic() < deadline
    send(apache_settings.kafka, name, numbers(2, partition=2, start=20))
    found = plan(apache_log.state(name), {0: 2}, first=False, max_rows=10)
    assert found.ranges == (OffsetRange(2, 0, 2),)
    assert values(apache_log.read(name, found.ranges, max_bytes=MB).frame) == [b"20", b"21"]


def remade(admin, settings, name):
    """Delete the topic and make it again."""
    admin.delete_topics([name])[name].result()
    deadline = time.monotonic() + 20
    while not create_topic(settings.kafka, name, partitions=1):
        assert time.monotonic() < deadline


def test_topic_made_again_has_another_id(apache_settings, apache_topic, apache_log, admin):
    name = apache_topic()
    before = apache_log.state(name)
    remade(admin, apache_settings, name)
    after = apache_log.state(name)
    assert before.topic_id
    assert after.topic_id
    assert before.topic_id != after.topic_id
    assert before.log.app_id(0) != after.log.app_id(0)


def test_topic_made_again_between_plan_and_read(apache_settings, apache_topic, apache_log, admin):
    name = apache_topic()
    send(apache_settings.kafka, name, numbers(3))
    known = apache_log.state(name).topic_id
    remade(admin, apache_settings, name)
    send(apache_settings.kafka, name, numbers(3, start=70))
    with pytest.raises(TopicRecreated) as caught:
        apache_log.read(name, [OffsetRange(0, 0, 3)], max_bytes=MB)
    assert caught.value.known == known
    assert apache_log.state(name).topic_id == caught.value.found
    assert values(apache_log.read(name, [OffsetRange(0, 0, 3)], max_bytes=MB).frame) == [b"70", b"71", b"72"]


def test_message_above_the_value_limit(apache_settings, apache_topic, apache_log):
    name = apache_topic(max_message_bytes=str(4 * MB))
    send(apache_settings.kafka, name, [Record(b"k", b"a" * (2 * MB), partition=0), Record(b"k", b"b", partition=0)])
    first = apache_log.read(name, [OffsetRange(0, 0, 2)], max_bytes=MB)
    assert first.ranges == (OffsetRange(0, 0, 1),)
    assert first.size_bytes == 2 * MB + 1
    assert first.frame.select("offset", "value_bytes", pl.col("value").bin.size()).rows() == [(0, 2 * MB, MB)]
    assert values(apache_log.read(name, [OffsetRange(0, 1, 2)], max_bytes=MB).frame) == [b"b"]


def test_alien_consumer_in_our_group(apache_settings, apache_topic, apache_log):
    name = apache_topic()
    send(apache_settings.kafka, name, numbers(10))
    apache_log.read(name, [OffsetRange(0, 0, 5)], max_bytes=MB)
    servers = apache_settings.kafka.bootstrap_servers
    with Consumer(
        {"bootstrap.servers": servers, "group.id": "analytics-platform", "auto.offset.reset": "latest"}
    ) as alien:
        alien.subscribe([name])
        deadline = time.monotonic() + 20
        while not alien.assignment():
            alien.poll(0.05)
            assert time.monotonic() < deadline
        assert apache_log.read(name, [OffsetRange(0, 5, 10)], max_bytes=MB).frame.height == 5
        apache_log.commit_hint(name, {0: 10})  # refused, and no matter


def test_group_of_the_hint_is_the_one_that_tools_list(apache_topic, apache_log, admin):
    name = apache_topic()
    apache_log.commit_hint(name, {0: 0})
    asked = [ConsumerGroupTopicPartitions("analytics-platform", [TopicPartition(name, 0)])]
    (future,) = admin.list_consumer_group_offsets(asked).values()
    assert [item.offset for item in future.result().topic_partitions] == [0]
