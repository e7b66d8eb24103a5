import time

import pytest

from analytics_platform.kafka import reader as reader_module
from analytics_platform.kafka.client import Connection
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.produce import Record, send
from analytics_platform.kafka.reader import TopicReader, message_bytes


def offsets(taken):
    return [(message.partition(), message.offset()) for message in taken.messages]


def test_partition_that_nobody_reads_is_paused_and_goes_on_without_a_gap(settings, topic, monkeypatch):
    monkeypatch.setattr(reader_module, "HELD_BYTES", 20_000)
    monkeypatch.setattr(reader_module, "PREFETCH_BYTES", 100_000)
    rows = 2000
    send(settings.kafka, topic, [Record(None, b"%0100d" % number, partition=number % 2) for number in range(2 * rows)])
    reader = TopicReader(Connection(settings.kafka), topic)
    seen = offsets(reader.read([OffsetRange(0, 0, 10), OffsetRange(1, 0, 10)], 2**40))
    most = 0
    for partition in (0, 1):  # while the other one is open too
        for start in range(10, rows, 199):
            seen += offsets(reader.read([OffsetRange(partition, start, start + 199)], 2**40))
            most = max(most, *(len(lane.held) for lane in reader._lanes.values()))
    reader.close()
    assert sorted(seen) == [(partition, offset) for partition in (0, 1) for offset in range(rows)]
    # 20 kB are 40 records of 100 bytes and their objects, chunks are of 50 records here.
    assert 40 < most <= 40 + 50


def test_chunks_shrink_for_large_records(settings, topic, monkeypatch):
    monkeypatch.setattr(reader_module, "PREFETCH_BYTES", 400_000)
    send(settings.kafka, topic, [Record(None, b"x" * 50_000, partition=0) for _ in range(40)])
    reader = TopicReader(Connection(settings.kafka), topic)
    reader.read([OffsetRange(0, 0, 20)], 2**40)
    assert reader._chunk_rows == 1
    reader.close()


def test_reader_that_failed_forgets_what_it_took(settings, topic, monkeypatch):
    send(settings.kafka, topic, [Record(None, b"x", partition=0) for _ in range(10)])
    reader = TopicReader(Connection(settings.kafka), topic)
    reader.read([OffsetRange(0, 0, 2)], 2**40)
    take = reader._take

    def interrupted(*arguments):
        if take(*arguments):
            raise KeyboardInterrupt
        return 0

    with monkeypatch.context() as patch:
        patch.setattr(reader, "_take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reader.read([OffsetRange(0, 2, 10)], 2**40)
    assert offsets(reader.read([OffsetRange(0, 2, 10)], 2**40)) == [(0, offset) for offset in range(2, 10)]
    reader.close()


def test_next_read_needs_no_new_consumer(settings, topic):
    send(settings.kafka, topic, [Record(None, b"x", partition=0) for _ in range(100)])
    reader = TopicReader(Connection(settings.kafka), topic)
    reader.read([OffsetRange(0, 0, 10)], 2**40)
    consumer = reader._consumer
    for start in range(10, 100, 10):
        reader.read([OffsetRange(0, start, start + 10)], 2**40)
        assert reader._consumer is consumer
    reader.close()


def test_reading_on_is_not_slowed_by_waiting(settings, topic):
    send(settings.kafka, topic, [Record(None, b"x", partition=0) for _ in range(1000)])
    reader = TopicReader(Connection(settings.kafka), topic)
    reader.read([OffsetRange(0, 0, 500)], 2**40)
    started = time.monotonic()
    for start in range(500, 1000, 10):
        reader.read([OffsetRange(0, start, start + 10)], 2**40)
    assert time.monotonic() - started < 50 * reader_module.CHUNK_S / 2
    reader.close()


def test_bytes_of_a_record_count_key_value_and_headers(settings, topic):
    send(
        settings.kafka,
        topic,
        [Record(b"12", b"345", [("67", b"8"), ("9", None)], partition=0), Record(None, None, partition=0)],
    )
    reader = TopicReader(Connection(settings.kafka), topic)
    taken = reader.read([OffsetRange(0, 0, 2)], 2**40)
    assert [message_bytes([message]) for message in taken.messages] == [9, 0]
    assert (message_bytes(taken.messages), taken.size_bytes) == (9, 9)
    reader.close()
