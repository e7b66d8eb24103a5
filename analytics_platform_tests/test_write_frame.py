"""Frames of events: whatever a frame holds, it is written and judged as its rows would be one by one."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.model import ENVELOPE, EventContract, KeyMode
from analytics_platform.contract.schema import INSTANT, polars_schema
from analytics_platform.kafka.frame import WireFormat
from analytics_platform.outgoing import Event, Fault
from analytics_platform.write import Writer
from analytics_platform_tests.test_write import AT, FLAT, STYLES, TRACE, catalog

PAYLOAD = tuple(one for one in FLAT.fields if one.name not in ENVELOPE)
TYPES = {
    **polars_schema(PAYLOAD),
    "occurred_at": INSTANT,
    "source": pl.String(),
    "trace_id": pl.String(),
    "idempotency_key": pl.String(),
}
GOOD: Mapping[str, Any] = {"order_id": "O-001", "occurred_at": AT, "source": "/shop", "trace_id": TRACE}
KEY = idempotency_key(FLAT, {"order_id": "O-001"})

TEXTS = st.sampled_from(["O-001", "O-002", 'ä\n"\\', "", "\x1f", "\x00", "null"])
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)) | st.just(AT)  # noqa: DTZ001
NUMBERS = st.sampled_from([0.0, -0.0, 1.5, 1e300, 99.9, 100.0, float("nan"), float("inf")]) | st.floats()
ROWS = st.fixed_dictionaries(
    {
        "order_id": TEXTS | st.sampled_from(["O-003", "O-004"]),
        "placed_at": st.none() | TIMES,
        "due": st.none() | st.dates(),
        "weight": st.none() | NUMBERS,
        "item": st.none() | st.builds(dict, sku=st.none() | TEXTS, seen=st.none() | TIMES),
        "tags": st.none() | st.lists(st.none() | TEXTS, max_size=3),
        "occurred_at": st.none() | TIMES,
        "source": st.none() | TEXTS,
        "trace_id": st.none() | st.sampled_from([TRACE, "", "0", "f" * 32]),
        "idempotency_key": st.none() | TEXTS | st.just(KEY),
    }
)


@pytest.fixture
def writer() -> Iterator[Any]:
    opened: list[Writer] = []

    def made(*events: EventContract, **options: Any) -> Writer:
        opened.append(Writer(catalog(*events), **options))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


def frame(*rows: Mapping[str, Any]) -> pl.DataFrame:
    schema = {name: kind for name, kind in TYPES.items() if any(name in row for row in rows)}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def event(row: Mapping[str, Any]) -> Event:
    payload = {name: value for name, value in row.items() if name not in ENVELOPE}
    said = (row.get("occurred_at"), row.get("source"), row.get("trace_id"))
    return Event("order_placed", payload, *said, idempotency_key=row.get("idempotency_key"))


def outcome(places: Any, keys: Any, records: Any, faults: list[Fault]) -> Any:
    # As text, of which -0.0 and 0 are not the same.
    values = [json.dumps(json.loads(record.value), sort_keys=True) for record in records]
    return list(places), list(keys), [(one.key, one.headers) for one in records], values, faults


@pytest.mark.parametrize("mode", KeyMode)
@pytest.mark.parametrize("style", STYLES)
@given(rows=st.lists(ROWS, min_size=1, max_size=8), absent=st.sets(st.sampled_from(sorted(TYPES)), max_size=2))
@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
def test_a_frame_is_its_rows(style: str, mode: KeyMode, rows: list[dict[str, Any]], absent: set[str]) -> None:
    of = STYLES[style]
    of = replace(of, identity=replace(of.identity, mode=mode))
    # The first fault that is met is told, so both have one order.
    rows = [{name: row[name] for name in TYPES if name not in absent} for row in rows]
    made = Writer(
        catalog(of),
        structured=style.endswith("structured"),
        key_fields={"order_placed": ("order_id", "placed_at", "source")},
    )
    ready, faults = made.prepared_frame("order_placed", frame(*rows))
    each, wrong = made.prepared(event(row) for row in rows)
    made.close()
    bad = {one.place for one in wrong}
    expected = outcome(
        [place for place in range(len(rows)) if place not in bad],
        [one.idempotency_key for one in each],
        [one.record for one in each],
        wrong,
    )
    assert outcome(ready.places, ready.idempotency_keys, ready.records, faults) == expected


def test_a_flat_record_written_out(writer: Any):
    ready, faults = writer(FLAT).prepared_frame("order_placed", frame(GOOD))
    (record,) = ready.records
    assert (faults, ready.topic, ready.places, ready.idempotency_keys) == ([], "orders", (0,), (KEY,))
    assert (record.key, record.headers) == (KEY.encode(), (("content-type", b"application/json"),))
    assert (
        record.value
        == (
            f'{{"order_id":"O-001","idempotency_key":"{KEY}","event_type":"order_placed","schema_version":"1.0.0",'
            f'"trace_id":"{TRACE}","occurred_at":"2013-01-01T10:17:00Z","source":"/shop"}}'
        ).encode()
    )


def test_bad_rows_are_returned_beside_good_ones(writer: Any):
    rows = frame(GOOD, GOOD | {"weight": 100.0}, GOOD | {"order_id": "4711"}, GOOD | {"trace_id": None}, GOOD)
    ready, faults = writer(FLAT).prepared_frame("order_placed", rows)
    assert ready.places == (0, 4)
    assert [(one.place, one.codes) for one in faults] == [
        (1, ("row_rule_violated",)),
        (2, ("rule_violated",)),
        (3, ("missing_field",)),
    ]


def test_the_writers_source_fills_gaps(writer: Any):
    one = writer(FLAT, source="/mine")
    for rows in (frame(GOOD | {"source": None}, GOOD), frame({k: v for k, v in GOOD.items() if k != "source"}, GOOD)):
        ready, faults = one.prepared_frame("order_placed", rows)
        assert faults == []
        assert [json.loads(record.value)["source"] for record in ready.records] == ["/mine", "/shop"]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pl.Series("wieght", [1.0]), "wieght: not a field of the contract"),
        (pl.Series("weight", ["1"]), "weight: a column of String, not of Float64"),
        (pl.Series("weight", [2**60]), "weight: a column of Int64, not of Float64"),
        (
            pl.Series("placed_at", [AT.replace(tzinfo=None)]),
            f"placed_at: a column of {pl.Datetime('us')}, not of {INSTANT}",
        ),
    ],
    ids=["not in the contract", "text for numbers", "integers too large for fractions", "naive times"],
)
def test_a_column_that_is_not_the_contracts(writer: Any, column: pl.Series, reason: str):
    rows = frame(GOOD).with_columns(column)
    ready, faults = writer(FLAT).prepared_frame("order_placed", pl.concat([rows, rows]))
    assert (ready.topic, list(ready.places), list(ready.records)) == ("orders", [], [])
    assert faults == [Fault(place, "order_placed", (reason,)) for place in range(2)]


@pytest.mark.parametrize(
    ("column", "written"),
    [
        (pl.Series("weight", [7], pl.Int16), 7),
        (pl.Series("weight", [0.5], pl.Float32), 0.5),
        (pl.Series("weight", [None], pl.Null), None),
        (pl.Series("placed_at", [AT], pl.Datetime("ns", "Europe/Rome")), "2013-01-01T10:17:00Z"),
    ],
    ids=["small integers", "short fractions", "nothing", "another time zone"],
)
def test_a_narrower_column(writer: Any, column: pl.Series, written: Any):
    ready, faults = writer(FLAT).prepared_frame("order_placed", frame(GOOD).with_columns(column))
    assert faults == []
    assert json.loads(ready.records[0].value)[column.name] == written


@pytest.mark.parametrize("far", [2**62, -(2**62)])
def test_times_that_no_calendar_has(writer: Any, far: int):
    placed = pl.Series("placed_at", [far, 0]).cast(INSTANT)
    due = pl.Series("due", [0, 2**30 if far > 0 else -(2**30)], pl.Int32).cast(pl.Date)
    _, faults = writer(FLAT).prepared_frame("order_placed", frame(GOOD, GOOD).with_columns(placed, due))
    assert [(one.place, one.codes) for one in faults] == [(0, ("wrong_type",)), (1, ("wrong_type",))]
    assert [one.reasons[0].partition(":")[0] for one in faults] == ["placed_at", "due"]


@pytest.mark.parametrize("far", [2**62, -(2**62), 2**63 - 1, -(2**63) + 1, -(2**63)])
def test_times_that_no_calendar_has_as_identifiers(writer: Any, far: int):
    of = replace(FLAT, identity=replace(FLAT.identity, by=("order_id", "placed_at")))
    placed = pl.Series("placed_at", [0, far]).cast(INSTANT)
    ready, faults = writer(of).prepared_frame("order_placed", frame(GOOD, GOOD).with_columns(placed))
    assert list(ready.places) == [0]
    assert [(one.place, one.reasons[0].partition(":")[0]) for one in faults] == [(1, "placed_at")]


@pytest.mark.parametrize("style", STYLES)
def test_no_payload(writer: Any, style: str):
    rows = frame(GOOD).drop("order_id")
    ready, faults = writer(STYLES[style], structured=style.endswith("structured")).prepared_frame("order_placed", rows)
    assert list(ready.records) == []
    assert [one.codes[0] for one in faults] == ["missing_field"]


def test_a_row_too_long(writer: Any):
    rows = frame(GOOD, GOOD | {"source": "/" + 300 * "x"})
    ready, faults = writer(FLAT, max_value_bytes=400).prepared_frame("order_placed", rows)
    assert ready.places == (0,)
    assert [(one.place, one.codes) for one in faults] == [(1, ("oversized",))]


def test_no_such_event_or_version(writer: Any):
    one = writer(FLAT)
    _, faults = one.prepared_frame("order_plced", frame(GOOD))
    assert faults == [Fault(0, "order_plced", ("no contract of this name; there are order_placed",))]
    _, faults = one.prepared_frame("order_placed", frame(GOOD), version="2.0.0")
    assert faults == [Fault(0, "order_placed", ("no contract of version 2.0.0; known: 1.0.0",))]


def test_no_rows(writer: Any):
    ready, faults = writer(FLAT).prepared_frame("order_placed", frame(GOOD).clear())
    assert (list(ready.records), faults) == ([], [])


@pytest.mark.parametrize("wire", [WireFormat.AVRO, WireFormat.PROTOBUF, WireFormat.JSON_SCHEMA])
def test_in_the_declared_format(writer: Any, wire: WireFormat):
    made = writer(replace(FLAT, wire=wire), schema_ids=lambda _contract, _schema: 7)
    rows = [GOOD | {"weight": 1.5, "due": date(2013, 2, 1)}, GOOD | {"item": {"sku": "a", "seen": AT}}]
    ready, faults = made.prepared_frame("order_placed", frame(*rows))
    each, _ = made.prepared(
        event({name: row.get(name) for name in TYPES if name in (*GOOD, "weight", "due", "item")}) for row in rows
    )
    assert faults == []
    assert [one.value[:5] for one in ready.records] == [b"\0\0\0\0\7"] * 2
    if wire is not WireFormat.JSON_SCHEMA:  # in which the order of members is free
        assert [(one.value, one.headers) for one in ready.records] == [
            (one.record.value, one.record.headers) for one in each
        ]


@pytest.mark.parametrize("several", [False, True])
def test_one_instant_is_one_kafka_key(writer: Any, several: bool):
    """Whether it came as a row or in a frame, in whichever zone, and whatever stands beside it."""
    fields = ("order_id", "placed_at", *(("weight",) if several else ()))
    made = writer(FLAT, key_fields={"order_placed": fields})
    row = GOOD | {"placed_at": AT, "weight": 1.5}
    ready, _ = made.prepared_frame("order_placed", frame(row))
    elsewhere = row | {"placed_at": AT.astimezone(timezone(timedelta(hours=2)))}
    each, _ = made.prepared([event(row), event(elsewhere)])
    expected = b"O-001-2013-01-01T10:17:00Z" + (b"-1.5" if several else b"")
    assert [ready.records[0].key, *(one.record.key for one in each)] == [expected] * 3
