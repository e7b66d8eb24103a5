from datetime import UTC, datetime

import polars as pl
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message
from polars.testing import assert_frame_equal

from analytics_platform.kafka.read import RAW_SCHEMA, raw_frame

NEVER = (TIMESTAMP_NOT_AVAILABLE, -1)
NOON_MS = 1_357_041_600_000
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


def message(offset=0, *, key=None, value=None, headers=None, timestamp=NEVER, partition=0):
    return Message(
        topic="t", partition=partition, offset=offset, key=key, value=value, headers=headers, timestamp=timestamp
    )


def row(offset=0, *, key=None, value=None, headers=None, timestamp=None, kind=None, size=None, partition=0):
    return (
        partition,
        offset,
        timestamp,
        kind,
        key,
        value,
        len(value) if size is None and value is not None else size,
        headers,
    )


def rows(*expected):
    return pl.DataFrame(list(expected), schema=RAW_SCHEMA, orient="row")


def test_no_messages():
    assert_frame_equal(raw_frame([], 100), pl.DataFrame(schema=RAW_SCHEMA))


def test_plain_record():
    pairs = [("a", b"1"), ("b", b"2")]
    found = raw_frame(
        [message(7, key=b"k", value=b"v", headers=pairs, timestamp=(TIMESTAMP_CREATE_TIME, NOON_MS + 1), partition=3)],
        100,
    )
    headers = [{"name": "a", "value": b"1"}, {"name": "b", "value": b"2"}]
    stamp = NOON.replace(microsecond=1000)
    assert_frame_equal(
        found, rows(row(7, key=b"k", value=b"v", headers=headers, timestamp=stamp, kind="create", partition=3))
    )


def test_tombstone_null_key_and_no_timestamp():
    assert_frame_equal(raw_frame([message()], 100), rows(row()))


def test_empty_value_is_no_tombstone():
    assert_frame_equal(raw_frame([message(value=b"", key=b"")], 100), rows(row(value=b"", key=b"", size=0)))


def test_broker_timestamp():
    found = raw_frame([message(timestamp=(TIMESTAMP_LOG_APPEND_TIME, NOON_MS))], 100)
    assert_frame_equal(found, rows(row(timestamp=NOON, kind="append")))


def test_timestamps_no_calendar_can_show():
    wild = [2**63 - 1, -(2**62), -62_135_596_800_001, 253_402_300_800_000]
    found = raw_frame([message(number, timestamp=(TIMESTAMP_CREATE_TIME, ms)) for number, ms in enumerate(wild)], 100)
    assert_frame_equal(found, rows(*(row(number, kind="create") for number in range(4))))


def test_broken_utf_8_stays_as_it_is():
    assert_frame_equal(
        raw_frame([message(key=b"\xff\x00", value=b"\xc3(")], 100), rows(row(key=b"\xff\x00", value=b"\xc3("))
    )


def test_long_value_is_cut_and_its_length_kept():
    found = raw_frame([message(0, value=b"1234567"), message(1, value=b"12345"), message(2), message(3, value=b"1")], 5)
    expected = rows(row(0, value=b"12345", size=7), row(1, value=b"12345"), row(2), row(3, value=b"1"))
    assert_frame_equal(found, expected)


def test_headers_of_some():
    found = raw_frame(
        [
            message(0),
            message(1, headers=[("n", None)]),
            message(2, headers=[]),
            message(3, headers=[("", b""), ("", b"x")]),
        ],
        5,
    )
    expected = rows(
        row(0),
        row(1, headers=[{"name": "n", "value": None}]),
        row(2),
        row(3, headers=[{"name": "", "value": b""}, {"name": "", "value": b"x"}]),
    )
    assert_frame_equal(found, expected)
