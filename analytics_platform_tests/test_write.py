"""Events as they are written: what the platform reads of them, and what is refused before anything is sent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from analytics_platform.contract.cloudevents import ATTRIBUTES
from analytics_platform.contract.decode import decode
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.model import (
    ENVELOPE,
    Catalog,
    Deprecation,
    Domain,
    EventContract,
    KeyMode,
    RowRule,
    Rules,
)
from analytics_platform.write import Event, Fault, Writer
from analytics_platform_tests.contract.example import contract, field, one_connection, records

AT = datetime(2013, 1, 1, 10, 17, tzinfo=UTC)
NAIVE = datetime(2013, 1, 1)  # noqa: DTZ001 - what must be refused
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b9c7c989f97918e1-01"
PAYLOAD = (
    field("order_id", rules=Rules(pattern="O-[0-9]{3}")),
    field("placed_at", "timestamp", required=False),
    field("due", "date", required=False),
    field("weight", "number", required=False),
    field("item", "object", required=False, fields=(field("sku"), field("seen", "timestamp", required=False))),
    field("tags", "array", required=False, item=field("tag")),
)
FLAT = contract(payload=PAYLOAD, row_rules=(RowRule("light", "weight IS NULL OR weight < 100", "An order is light."),))
PLACES = {name: name for name in ENVELOPE}
STYLES: Mapping[str, EventContract] = {
    "flat": FLAT,
    "headers": replace(FLAT, envelope={name: f"header:x-{name}" for name in ENVELOPE}),
    "traceparent in a header": replace(FLAT, envelope=PLACES | {"trace_id": "traceparent:header:traceparent"}),
    "traceparent in the value": replace(FLAT, envelope=PLACES | {"trace_id": "traceparent:parent"}),
    "CloudEvents, binary": replace(FLAT, envelope=ATTRIBUTES, cloudevents="com.example.order"),
    "CloudEvents, structured": replace(FLAT, envelope=ATTRIBUTES, cloudevents="com.example.order"),
    "CloudEvents that differ": replace(
        FLAT,
        envelope={
            **ATTRIBUTES,
            "idempotency_key": "ourkey",
            "schema_version": "header:v",
            "occurred_at": "data:placed_at",
        },
        cloudevents="order_placed",
    ),
}


def catalog(*events: EventContract) -> Catalog:
    return Catalog({"shop": Domain("shop", events, (), ())})


@pytest.fixture
def writer() -> Iterator[Any]:
    opened: list[Writer] = []

    def made(*events: EventContract, **options: Any) -> Writer:
        opened.append(Writer(catalog(*events), **options))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


def event(payload: Any = None, **rest: Any) -> Event:
    said: dict[str, Any] = {"occurred_at": AT, "source": "/shop", "trace_id": TRACE} | rest
    return Event("order_placed", {"order_id": "O-001"} if payload is None else payload, **said)


def read(writer: Writer, contracts: list[EventContract], *events: Event) -> list[dict[str, Any]]:
    """The rows that the platform reads of these events, all of which must be good."""
    ready, faults = writer.prepared(events)
    assert faults == []
    values = [one.record.value for one in ready]
    frame = records(values, headers=[dict(one.record.headers) for one in ready])
    decoded = decode(frame, contracts, connection=one_connection())
    assert decoded.rejected.is_empty()
    rows = decoded.rows["order_placed"].rows(named=True)
    assert [row["idempotency_key"] for row in rows] == [one.idempotency_key for one in ready]
    return [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]


@pytest.mark.parametrize("mode", KeyMode)
@pytest.mark.parametrize("style", STYLES)
def test_what_is_written_is_what_is_read(writer: Any, style: str, mode: KeyMode):
    of = STYLES[style]
    of = replace(of, identity=replace(of.identity, mode=mode))
    payload = {
        "order_id": "O-001",
        "placed_at": AT,
        "due": date(2013, 2, 1),
        "weight": 1.5,
        "item": {"sku": 'ä\n"', "seen": AT.astimezone(timezone(timedelta(hours=2)))},
        "tags": ["a", "b"],
    }
    (row,) = read(writer(of, structured=style.endswith("structured")), [of], event(payload))
    assert row == {
        "idempotency_key": idempotency_key(of, {"order_id": "O-001"}),
        "event_type": "order_placed",
        "schema_version": "1.0.0",
        "trace_id": TRACE,
        "occurred_at": AT,
        "source": "/shop",
        "order_id": "O-001",
        "placed_at": AT,
        "due": date(2013, 2, 1),
        "weight": 1.5,
        "item": {"sku": 'ä\n"', "seen": AT},
        "tags": ["a", "b"],
    }


def test_a_flat_record_written_out(writer: Any):
    ((ready,), faults) = writer(FLAT).prepared([event()])
    key = idempotency_key(FLAT, {"order_id": "O-001"})
    assert (faults, ready.topic, ready.record.key) == ([], "orders", key.encode())
    assert ready.record.headers == (("content-type", b"application/json"),)
    assert (
        ready.record.value
        == (
            f'{{"order_id":"O-001","idempotency_key":"{key}","event_type":"order_placed","schema_version":"1.0.0",'
            f'"trace_id":"{TRACE}","occurred_at":"2013-01-01T10:17:00Z","source":"/shop"}}'
        ).encode()
    )


@pytest.mark.parametrize("structured", [True, False])
def test_a_cloudevent_written_out(writer: Any, structured: bool):
    of = replace(
        STYLES["CloudEvents, binary"], header=replace(FLAT.header, id="https://example.com/contracts/order_placed")
    )
    ((ready,), _) = writer(of, structured=structured).prepared([event(traceparent=PARENT, trace_id=None)])
    key = idempotency_key(FLAT, {"order_id": "O-001"})
    if structured:
        assert ready.record.headers == (
            ("content-type", b"application/cloudevents+json"),
            ("traceparent", PARENT.encode()),
        )
        assert (
            ready.record.value
            == (
                f'{{"specversion":"1.0","id":"{key}","type":"com.example.order",'
                f'"dataschema":"https://example.com/contracts/order_placed/1.0.0","traceparent":"{PARENT}",'
                '"time":"2013-01-01T10:17:00Z","source":"/shop","data":{"order_id":"O-001"}}'
            ).encode()
        )
    else:
        assert ready.record.value == b'{"order_id":"O-001"}'
        assert dict(ready.record.headers) == {
            "ce_specversion": b"1.0",
            "content-type": b"application/json",
            "ce_id": key.encode(),
            "ce_type": b"com.example.order",
            "ce_dataschema": b"https://example.com/contracts/order_placed/1.0.0",
            "traceparent": PARENT.encode(),
            "ce_traceparent": PARENT.encode(),
            "ce_time": b"2013-01-01T10:17:00Z",
            "ce_source": b"/shop",
        }


def test_a_traceparent_where_the_contract_wants_a_trace_id(writer: Any):
    (row,) = read(writer(FLAT), [FLAT], event(trace_id=None, traceparent=PARENT))
    assert row["trace_id"] == TRACE


@dataclass
class Item:
    sku: str
    seen: datetime | None = None


@dataclass
class Order:
    order_id: str
    item: Item
    due: date


def test_a_dataclass(writer: Any):
    (row,) = read(writer(FLAT), [FLAT], event(Order("O-002", Item("a", AT), date(2013, 1, 2))))
    assert (row["order_id"], row["item"], row["due"]) == ("O-002", {"sku": "a", "seen": AT}, date(2013, 1, 2))


def test_the_source_of_the_writer_is_the_one_of_events_without(writer: Any):
    rows = read(writer(FLAT, source="/mine"), [FLAT], event(source=None), event({"order_id": "O-002"}))
    assert [row["source"] for row in rows] == ["/mine", "/shop"]


class TestVersions:
    OLD = contract(version="1.0.0", payload=(field("order_id"),))
    NEW = contract(version="1.1.0", payload=(field("order_id"), field("more", required=False)))
    DRAFT = replace(
        contract(version="2.0.0", payload=(field("order_id"), field("other"))),
        header=replace(contract(version="2.0.0").header, status="draft"),
    )

    @pytest.mark.parametrize(("asked", "written"), [(None, "1.1.0"), ("1.0.0", "1.0.0"), ("1.1.0", "1.1.0")])
    def test_written_by(self, writer: Any, asked: str | None, written: str):
        versions = [self.OLD, self.NEW, self.DRAFT]
        (row,) = read(writer(*versions), versions, event(version=asked))
        assert row["schema_version"] == written

    def test_only_drafts(self, writer: Any):
        (row,) = read(writer(self.DRAFT), [self.DRAFT], event({"order_id": "O-001", "other": "x"}))
        assert row["schema_version"] == "2.0.0"

    def test_a_field_of_another_version(self, writer: Any):
        _, faults = writer(self.OLD, self.NEW).prepared([event({"order_id": "1", "more": "x"}, version="1.0.0")])
        assert faults == [Fault(0, "order_placed", ("more: not a field of the contract",))]


@pytest.mark.parametrize(
    ("today", "refused"),
    [(None, False), (datetime(2013, 3, 31, 23, tzinfo=UTC), False), (datetime(2013, 4, 1, tzinfo=UTC), True)],
)
def test_a_version_that_has_ended(writer: Any, today: datetime | None, refused: bool):
    ending = replace(FLAT, deprecation=Deprecation(date(2013, 1, 1), date(2013, 3, 31), None))
    _, faults = writer(ending, clock=None if today is None else lambda: today).prepared([event()])
    assert [one.codes for one in faults] == [("version_sunset",)] * refused


class TestKafkaKey:
    def test_of_declared_fields(self, writer: Any):
        made = writer(FLAT, key_fields={"order_placed": ("order_id", "weight")})
        ready, _ = made.prepared([event({"order_id": "O-001", "weight": 5}), event()])
        assert [one.record.key for one in ready] == [b"O-001-5", b"O-001-"]

    def test_of_an_event_whose_key_is_trusted(self, writer: Any):
        of = replace(FLAT, identity=replace(FLAT.identity, mode=KeyMode.TRUST, by=()))
        ready, faults = writer(of).prepared([event(idempotency_key="mine"), event()])
        assert [(one.idempotency_key, one.record.key) for one in ready] == [("mine", b"mine")]
        assert faults == [Fault(1, "order_placed", ("idempotency_key: missing",), ("missing_field",))]


def plain(reason: str, code: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (reason,), (code,)


UNFIT: list[tuple[dict[str, Any], dict[str, Any], tuple[tuple[str, ...], tuple[str, ...]]]] = [
    ({"order_id": None}, {}, plain("order_id: expected string, got null", "missing_field")),
    ({"weight": "1"}, {}, plain("weight: expected number or null, got string", "wrong_type")),
    ({"weight": 100}, {}, plain("row rule light: An order is light.", "row_rule_violated")),
    ({"order_id": "4711"}, {}, plain("order_id: does not match the pattern O-[0-9]{3}", "rule_violated")),
    (
        {"item": {"skew": "x"}},
        {},
        (("item.skew: not a field of the contract", "item.sku: missing"), ("missing_field",)),
    ),
    ({"weight": float("nan")}, {}, (("weight: JSON has no such number",), ())),
    ({"tags": [b"x"]}, {}, (("tags[]: bytes are no string",), ())),
    ({"wieght": 1}, {}, (("wieght: not a field of the contract",), ())),
    ({"tags": [object()]}, {}, (("cannot be written as JSON: Encoding objects of type object is unsupported",), ())),
    ({"order_id": "\ud800"}, {}, (("cannot be written as JSON: UnicodeEncodeError",), ())),
    (
        {"placed_at": NAIVE},
        {},
        plain("placed_at: expected timestamp with a timezone component", "wrong_type"),
    ),
    ({}, {"occurred_at": None}, plain("occurred_at: missing", "missing_field")),
    (
        {},
        {"occurred_at": NAIVE},
        plain("occurred_at: expected timestamp with a timezone component", "wrong_type"),
    ),
    ({}, {"trace_id": None}, plain("trace_id: missing", "missing_field")),
    ({}, {"version": "2.0.0"}, (("no contract of version 2.0.0; known: 1.0.0",), ())),
]


@pytest.mark.parametrize(("payload", "rest", "expected"), UNFIT, ids=range(len(UNFIT)))
def test_what_does_not_fit(writer: Any, payload: dict[str, Any], rest: dict[str, Any], expected: Any):
    ready, faults = writer(FLAT).prepared([event(), event({"order_id": "O-001"} | payload, **rest), event()])
    assert len(ready) == 2
    assert [(one.place, one.reasons, one.codes) for one in faults] == [(1, *expected)]


def test_a_bad_traceparent(writer: Any):
    _, faults = writer(STYLES["CloudEvents, binary"]).prepared([event(trace_id=None, traceparent=f"ff{PARENT[2:]}")])
    assert [one.reasons for one in faults] == [("header traceparent or header ce_traceparent: not a W3C traceparent",)]


def test_two_sources_of_one_field_that_disagree(writer: Any):
    of = STYLES["CloudEvents that differ"]
    late = AT + timedelta(seconds=1)
    _, faults = writer(of).prepared([event({"order_id": "O-001", "placed_at": late})])
    assert [one.reasons for one in faults] == [("placed_at: occurred_at comes from here, and is another one",)]
    (row,) = read(writer(of), [of], event({"order_id": "O-001", "placed_at": late}, occurred_at=None))
    assert row["occurred_at"] == late


def test_longer_than_the_platform_takes(writer: Any):
    _, faults = writer(FLAT, max_value_bytes=100).prepared([event()])
    assert [one.codes for one in faults] == [("oversized",)]


@pytest.mark.parametrize("payload", [5, None, Order, [("order_id", "O-001")]])
def test_no_payload(writer: Any, payload: Any):
    _, faults = writer(FLAT).prepared([replace(event(), payload=payload)])
    assert [one.reasons for one in faults] == [("the payload is neither a mapping nor a dataclass",)]


def test_no_such_event(writer: Any):
    _, faults = writer(FLAT).prepared([replace(event(), event_type="order_plced")])
    assert [str(one) for one in faults] == ["event 0 (order_plced): no contract of this name; there are order_placed"]


def test_nothing_to_write(writer: Any):
    assert writer(FLAT).prepared([]) == ([], [])


def test_events_of_several_types_keep_their_order(writer: Any):
    seen = contract("order_seen", topic="seen", payload=(field("order_id"),))
    events = [event(), Event("order_seen", {"order_id": "1"}, AT, "/x", TRACE), event({"order_id": "O-002"})]
    ready, _ = writer(FLAT, seen).prepared(events)
    assert [(one.event, one.topic) for one in ready] == [
        (events[0], "orders"),
        (events[1], "seen"),
        (events[2], "orders"),
    ]
