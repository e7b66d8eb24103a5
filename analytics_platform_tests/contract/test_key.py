import hashlib
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform import duck
from analytics_platform.contract.key import idempotency_key, key_hash_sql, key_sql
from analytics_platform_tests.contract.example import contract, field

FLIGHT = contract(
    "flight",
    payload=(
        field("number", "integer"),
        field("carrier"),
        field("planned", "timestamp"),
        field("day", "date"),
        field("extra", "boolean"),
    ),
    by=("carrier", "number", "planned", "day", "extra"),
)
ROW = {
    "carrier": "UA",
    "number": 1545,
    "planned": "2013-01-01T05:15:00-05:00",
    "day": "2013-01-01",
    "extra": False,
}


def test_written_out():
    expected = hashlib.sha256(b"flight\x1fUA\x1f1545\x1f2013-01-01T10:15:00.000000Z\x1f2013-01-01\x1ffalse").hexdigest()
    assert idempotency_key(FLIGHT, ROW) == expected


def test_an_instant_has_one_key_in_every_zone():
    zoned = datetime(2013, 1, 1, 5, 15, tzinfo=timezone(timedelta(hours=-5)))
    for same in (zoned, zoned.astimezone(UTC), "2013-01-01T10:15:00Z", "2013-01-01t10:15:00.0z"):
        assert idempotency_key(FLIGHT, ROW | {"planned": same}) == idempotency_key(FLIGHT, ROW)


@pytest.mark.parametrize(
    "changes",
    [
        {"carrier": None},
        {"carrier": "U\x1fA"},
        {"carrier": 5},
        {"number": True},
        {"number": "1545"},
        {"planned": datetime(2013, 1, 1)},  # noqa: DTZ001 - naive on purpose
        {"planned": "2013-01-01T10:15:00"},
        {"day": datetime(2013, 1, 1, tzinfo=UTC)},
    ],
)
def test_no_key_without_sound_identifiers(changes: dict[str, object]):
    with pytest.raises(ValueError, match="identif"):
        idempotency_key(FLIGHT, ROW | changes)


EVENTS = st.fixed_dictionaries(
    {
        "carrier": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1f")),
        "number": st.integers(-(2**63), 2**63 - 1),
        "planned": st.datetimes(timezones=st.just(UTC)),
        "day": st.dates(),
        "extra": st.booleans(),
    }
)


@settings(max_examples=30, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=20))
def test_python_and_sql_agree(events: list[dict[str, object]]):
    schema = {
        "carrier": pl.String,
        "number": pl.Int64,
        "planned": pl.Datetime("us", "UTC"),
        "day": pl.Date,
        "extra": pl.Boolean,
    }
    with duck.connect(threads=1) as connection:
        connection.register("events", pl.DataFrame(events, schema=schema).to_arrow())
        found = connection.execute(f"SELECT {key_sql(FLIGHT)}, {key_hash_sql(key_sql(FLIGHT))} FROM events").fetchall()
    expected = [idempotency_key(FLIGHT, event) for event in events]
    assert [key for key, _ in found] == expected
    digests = [hashlib.md5(key.encode(), usedforsecurity=False).digest() for key in expected]
    assert [hashed for _, hashed in found] == [int.from_bytes(digest[8:], "little") >> 1 for digest in digests]


def test_the_hash_never_changes():
    with duck.connect(threads=1) as connection:
        found = connection.execute(
            f"SELECT {key_hash_sql('x')}, CAST(md5_number_lower(x) >> 1 AS BIGINT) FROM (SELECT 'abc' AS x)"
        ).fetchall()
    assert found == [(4125280303191149419, 4125280303191149419)]
