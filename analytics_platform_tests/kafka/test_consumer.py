import ctypes
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import confluent_kafka
import polars as pl
import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, TopicPartition
from polars.testing import assert_frame_equal

from analytics_platform.errors import (
    BrokerUnavailable,
    OffsetsExpired,
    OffsetsRegressed,
    PartitionGone,
    UnknownTopic,
)
from analytics_platform.kafka import consumer as consumer_module
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.kafka.offsets import OffsetRange, Watermarks, plan
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.kafka.read import RAW_SCHEMA
from analytics_platform_tests.kafka.conftest import new_name, numbers, settings_of, values

MB = 1024 * 1024


def send_headers(settings, topic, names):
    """One record with header names that the Python client would not send: by librdkafka itself."""
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka*"))))
    for function in (library.rd_kafka_conf_new, library.rd_kafka_new, library.rd_kafka_headers_new):
        function.restype = ctypes.c_void_p
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(conf, b"bootstrap.servers", settings.kafka.bootstrap_servers.encode(), None, 0)
    producer = ctypes.c_void_p(library.rd_kafka_new(0, conf, None, 0))
    headers = ctypes.c_void_p(library.rd_kafka_headers_new(ctypes.c_size_t(len(names))))
    for name in names:
        library.rd_kafka_header_add(headers, name, ctypes.c_ssize_t(len(name)), b"x", ctypes.c_ssize_t(1))
    kinds = {
        "topic": 1,
        "partition": 3,
        "value": 4,
        "flags": 7,
        "headers": 10,
        "end": 0,
    }  # rd_kafka_vtype_t of rdkafka.h
    failed = library.rd_kafka_producev(
        producer,
        *(kinds["topic"], ctypes.c_char_p(topic.encode())),
        *(kinds["partition"], ctypes.c_int32(0)),
        *(kinds["value"], ctypes.c_char_p(b"v"), ctypes.c_size_t(1)),
        *(kinds["flags"], ctypes.c_int(2)),  # copy the value
        *(kinds["headers"], headers),
        kinds["end"],
    )
    assert not failed
    assert not library.rd_kafka_flush(producer, 10_000)
    library.rd_kafka_destroy(producer)


def test_exact_ranges_as_a_frame(settings, topic, log):
    stamp = datetime(2013, 1, 1, 12, tzinfo=UTC)
    ms = int(stamp.timestamp() * 1000)
    headers = [("ce_id", b"1"), ("ce_id", b"\xff"), ("none", None)]
    sent = send(
        settings.kafka,
        topic,
        [
            Record(b"k0", b"v0", timestamp_ms=ms, partition=0),
            Record(b"k1", b"v1", timestamp_ms=ms, partition=0),
            Record(None, b"\xff\xfe", headers, ms + 1, partition=2),
            Record(b"\x00\xff", None, timestamp_ms=ms, partition=2),
            Record(b"", b"", timestamp_ms=ms, partition=2),
        ],
    )
    assert sent == 5
    batch = log.read(topic, [OffsetRange(0, 1, 2), OffsetRange(2, 0, 3)], max_bytes=MB)
    expected = [
        (0, 1, stamp, "create", b"k1", b"v1", 2, None),
        (
            2,
            0,
            stamp.replace(microsecond=1000),
            "create",
            None,
            b"\xff\xfe",
            2,
            [{"name": n, "value": v} for n, v in headers],
        ),
        (2, 1, stamp, "create", b"\x00\xff", None, None, None),
        (2, 2, stamp, "create", b"", b"", 0, None),
    ]
    assert_frame_equal(batch.frame, pl.DataFrame(expected, schema=RAW_SCHEMA, orient="row"))
    assert batch.ranges == (OffsetRange(0, 1, 2), OffsetRange(2, 0, 3))
    assert batch.size_bytes == 2 + 2 + 2 + (5 + 1 + 5 + 1 + 4) + 2


def test_state_of_an_empty_topic(topic, log):
    state = log.state(topic)
    assert state.partitions == dict.fromkeys(range(4), Watermarks(0, 0))
    assert state.cluster_id
    assert plan(state, {}, first=True, max_rows=10).ranges == ()


def test_state_sees_new_records_at_once(settings, topic, log):
    log.state(topic)
    send(settings.kafka, topic, numbers(3, partition=1))
    assert log.state(topic).partitions[1] == Watermarks(0, 3)


def test_state_is_fast_enough_for_a_long_poll(topic, log):
    log.state(topic)
    started = time.monotonic()
    for _ in range(10):
        log.state(topic)
    assert (time.monotonic() - started) / 10 < 0.1


def test_read_on_from_what_is_held(settings, topic, log):
    send(settings.kafka, topic, [*numbers(100, 0), *numbers(100, 3)])
    read, stored = 0, dict.fromkeys(range(4), 0)
    while ranges := plan(log.state(topic), stored, first=False, max_rows=30).ranges:
        batch = log.read(topic, ranges, max_bytes=MB)
        assert batch.ranges == ranges
        asked = [(item.partition, offset, b"%d" % offset) for item in ranges for offset in range(item.start, item.end)]
        assert batch.frame.select("partition", "offset", "value").rows() == asked
        stored |= {item.partition: item.end for item in batch.ranges}
        read += len(asked)
    assert read == 200


def test_new_records_after_the_end_was_reached(settings, topic, log):
    for number in range(3):
        send(settings.kafka, topic, numbers(2, start=2 * number))
        batch = log.read(topic, [OffsetRange(0, 2 * number, 2 * number + 2)], max_bytes=MB)
        assert values(batch.frame) == [b"%d" % (2 * number), b"%d" % (2 * number + 1)]


def test_same_range_again_after_a_failed_commit(settings, topic, log):
    send(settings.kafka, topic, numbers(50))
    for ranges in ([OffsetRange(0, 0, 20)], [OffsetRange(0, 0, 20)], [OffsetRange(0, 30, 40)], [OffsetRange(0, 5, 50)]):
        batch = log.read(topic, ranges, max_bytes=MB)
        assert values(batch.frame) == [b"%d" % number for number in range(ranges[0].start, ranges[0].end)]


def test_two_topics_in_turn(settings, topic, log):
    other = new_name()
    create_topic(settings.kafka, other)
    send(settings.kafka, topic, numbers(10))
    send(settings.kafka, other, numbers(10, start=100))
    for start in (0, 5):
        first = log.read(topic, [OffsetRange(0, start, start + 5)], max_bytes=MB)
        second = log.read(other, [OffsetRange(0, start, start + 5)], max_bytes=MB)
        assert values(first.frame) == [b"%d" % number for number in range(start, start + 5)]
        assert values(second.frame) == [b"%d" % number for number in range(100 + start, 105 + start)]


def test_more_topics_than_readers(settings, topic, log, monkeypatch):
    monkeypatch.setattr(consumer_module, "MAX_READERS", 1)
    test_two_topics_in_turn(settings, topic, log)
    assert len(log._readers) == 1


def test_byte_cap_ends_a_batch_early(settings, topic, log):
    send(settings.kafka, topic, [Record(None, b"x" * 1000, partition=0) for _ in range(10)])
    batch = log.read(topic, [OffsetRange(0, 0, 10)], max_bytes=2500)
    assert batch.ranges == (OffsetRange(0, 0, 3),)
    assert (batch.frame.height, batch.size_bytes) == (3, 3000)
    rest = log.read(topic, [OffsetRange(0, 3, 10)], max_bytes=MB)
    assert rest.frame["offset"].to_list() == list(range(3, 10))


def test_partition_not_reached_is_left_out(settings, topic, log):
    send(settings.kafka, topic, [*numbers(5, 0), *numbers(5, 1)])
    batch = log.read(topic, [OffsetRange(0, 0, 5), OffsetRange(1, 0, 5)], max_bytes=1)
    assert [item.end - item.start for item in batch.ranges] == [1]
    assert batch.frame.height == 1
    (done,) = batch.ranges
    left = [OffsetRange(partition, int(partition == done.partition), 5) for partition in (0, 1)]
    assert log.read(topic, left, max_bytes=MB).ranges == tuple(left)


def test_unknown_topic(log):
    name = new_name()
    for _ in range(2):  # looking at it has not made it
        with pytest.raises(UnknownTopic, match=name):
            log.state(name)


def test_partition_that_does_not_exist(settings, topic):
    with (
        KafkaLog(settings_of(settings.kafka.bootstrap_servers, timedelta(seconds=1))) as log,
        pytest.raises(PartitionGone),
    ):
        log.read(topic, [OffsetRange(9, 0, 1)], max_bytes=MB)


def test_range_behind_the_end(settings, topic, log):
    send(settings.kafka, topic, numbers(3))
    with pytest.raises(OffsetsRegressed) as caught:
        log.read(topic, [OffsetRange(0, 7, 9)], max_bytes=MB)
    assert (caught.value.partition, caught.value.start, caught.value.end) == (0, 7, 3)


def test_end_that_never_comes(settings, topic):
    send(settings.kafka, topic, numbers(3))
    with KafkaLog(settings_of(settings.kafka.bootstrap_servers, timedelta(seconds=1))) as log:
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="no records of the ranges for 1 s"):
            log.read(topic, [OffsetRange(0, 0, 5)], max_bytes=MB)
        assert time.monotonic() - started < 5
        # Nothing was lost by it: the three that are there come again.
        assert values(log.read(topic, [OffsetRange(0, 0, 3)], max_bytes=MB).frame) == [b"0", b"1", b"2"]


def test_hint_to_the_consumer_group(settings, topic, log):
    send(settings.kafka, topic, numbers(5))
    log.commit_hint(topic, {0: 3})
    with Consumer({"bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "analytics-platform"}) as group:
        committed = group.committed([TopicPartition(topic, 0), TopicPartition(topic, 1)], timeout=5)
    assert [item.offset for item in committed] == [3, OFFSET_INVALID]
    # And reading takes no notice of it.
    assert values(log.read(topic, [OffsetRange(0, 0, 1)], max_bytes=MB).frame) == [b"0"]


def test_hint_without_a_broker_is_only_logged(caplog):
    with KafkaLog(settings_of("127.0.0.1:1", timedelta(seconds=1))) as log:
        log.commit_hint("flights", {0: 3})
    assert "flights: the consumer group was not told" in caplog.text


def test_broker_down_from_the_start():
    started = time.monotonic()
    with (
        KafkaLog(settings_of("127.0.0.1:1", timedelta(seconds=1))) as log,
        pytest.raises(BrokerUnavailable, match=r"127.0.0.1:1"),
    ):
        log.state("flights")
    assert time.monotonic() - started < 5


def test_broker_dies_under_a_reader():
    with EmbeddedBroker() as broker:
        settings = settings_of(broker.bootstrap_servers, timedelta(seconds=1))
        send(settings.kafka, "flights", numbers(2))
        with KafkaLog(settings) as log:
            log.read("flights", [OffsetRange(0, 0, 2)], max_bytes=MB)
            broker.stop()
            started = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                log.read("flights", [OffsetRange(0, 2, 4)], max_bytes=MB)
            with pytest.raises(BrokerUnavailable):
                log.state("flights")
            assert time.monotonic() - started < 10


def test_expired_by_volume_on_the_embedded_broker(embedded):
    settings, name = settings_of(embedded), new_name()
    send(settings.kafka, name, [Record(None, b"x" * 20_000, partition=0) for _ in range(450)])
    with KafkaLog(settings) as log:
        marks = log.state(name).partitions[0]
        assert marks.low > 0
        with pytest.raises(OffsetsExpired) as caught:
            log.read(name, [OffsetRange(0, 0, 10)], max_bytes=MB)
        error = caught.value
        assert (error.partition, error.start, error.low, error.end) == (0, 0, marks.low, 450)
        held = log.read(name, [OffsetRange(0, marks.low, 450)], max_bytes=100 * MB)
        assert held.frame["offset"].to_list() == list(range(marks.low, 450))


def test_header_names_that_are_no_text(settings, topic, log):
    sound = [("sound", b"1")]
    for names in ([], [b"\xff\xfe"], [b"good", b"\xc3"], []):
        send_headers(settings, topic, names) if names else send(
            settings.kafka, topic, [Record(None, b"", sound, partition=0)]
        )
    lost = [{"name": "\N{REPLACEMENT CHARACTER}", "value": None}]
    kept = [{"name": "sound", "value": b"1"}]
    for _ in range(2):
        batch = log.read(topic, [OffsetRange(0, 0, 4)], max_bytes=MB)
        assert values(batch.frame) == [b"", b"v", b"v", b""]
        assert batch.frame["headers"].to_list() == [kept, lost, lost, kept]
