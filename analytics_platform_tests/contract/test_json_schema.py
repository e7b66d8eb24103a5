import json
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.cloudevents import ATTRIBUTES
from analytics_platform.contract.json_schema import DATE, DIALECT, TIMESTAMP, json_schema
from analytics_platform.contract.model import ENVELOPE, EventContract, KeyMode, RowRule, Rules
from analytics_platform.judge import judge
from analytics_platform_tests.contract.example import ORDER, contract, field, order, records, text
from analytics_platform_tests.contract.shapes import events, payloads


def takes(of: EventContract, *values: bytes, closed: bool = False) -> list[bool]:
    schema = json_schema(of, closed=closed)
    jsonschema_rs.meta.validate(schema)
    validator = jsonschema_rs.validator_for(schema)
    return [validator.is_valid(json.loads(value)) for value in values]


def keeps(of: EventContract, *values: bytes) -> list[bool]:
    good = judge(records(values), [of]).good
    offsets = set(good[of.name]["_offset"]) if of.name in good else set()
    return [offset in offsets for offset in range(len(values))]


SMALL = replace(
    contract(
        payload=(
            field("order_id", rules=Rules(pattern="O-[0-9]{3}|X", max_length=5)),
            field("currency", required=False, rules=Rules(enum=("EUR", "USD"))),
            field("cents", "integer", deprecated=True, rules=Rules(minimum=0, multiple_of=5)),
            field("weight", "number", required=False, rules=Rules(exclusive_minimum=0.5, maximum=9.0)),
            field("due", "date", required=False),
            field("gift", "boolean"),
            field(
                "lines",
                "array",
                rules=Rules(min_items=1),
                item=field("item", "object", required=False, fields=(field("sku"), field("at", "timestamp", False))),
            ),
        ),
        envelope={
            "idempotency_key": "id",
            "event_type": "type",
            "schema_version": "header:version",
            "trace_id": "header:trace",
            "occurred_at": "time",
            "source": "source",
        },
    )
)


def test_every_keyword() -> None:
    assert json_schema(SMALL) == {
        "$schema": DIALECT,
        "title": "order_placed@1.0.0",
        "description": "order_placed",
        "type": "object",
        "properties": {
            "id": {"description": "The idempotency_key.", "type": "string"},
            "type": {"description": "The event_type.", "type": "string", "const": "order_placed"},
            "time": {
                "description": "The occurred_at.",
                "type": "string",
                "format": "date-time",
                "pattern": TIMESTAMP,
            },
            "source": {"description": "The source.", "type": ["string", "null"]},
            "order_id": {
                "description": "The order_id.",
                "type": "string",
                "maxLength": 5,
                "pattern": "^(?:O-[0-9]{3}|X)$",
            },
            "currency": {
                "description": "The currency.",
                "type": ["string", "null"],
                "enum": ["EUR", "USD", None],
            },
            "cents": {
                "description": "The cents.",
                "type": "integer",
                "deprecated": True,
                "minimum": 0,
                "multipleOf": 5,
                "maximum": 2**63 - 1,
            },
            "weight": {
                "description": "The weight.",
                "type": ["number", "null"],
                "maximum": 9,
                "exclusiveMinimum": 0.5,
            },
            "due": {"description": "The due.", "type": ["string", "null"], "format": "date", "pattern": DATE},
            "gift": {"description": "The gift.", "type": "boolean"},
            "lines": {
                "description": "The lines.",
                "type": "array",
                "minItems": 1,
                "items": {
                    "description": "The item.",
                    "type": ["object", "null"],
                    "properties": {
                        "sku": {"description": "The sku.", "type": "string"},
                        "at": {
                            "description": "The at.",
                            "type": ["string", "null"],
                            "format": "date-time",
                            "pattern": TIMESTAMP,
                        },
                    },
                    "required": ["sku"],
                    "additionalProperties": True,
                },
            },
        },
        "required": ["id", "type", "time", "order_id", "cents", "gift", "lines"],
        "additionalProperties": True,
    }


def test_a_key_that_is_derived_is_not_asked_for() -> None:
    derived = replace(SMALL, identity=replace(SMALL.identity, mode=KeyMode.DERIVE))
    assert "id" not in json_schema(derived)["properties"]


def test_of_a_cloud_event_the_value_is_its_data() -> None:
    """Attributes are headers there; a field of the envelope may stand in data all the same."""
    event = replace(
        contract(
            payload=(field("order_id"),),
            envelope={**ATTRIBUTES, "event_type": "data:kind", "schema_version": "data:version"},
        ),
        cloudevents="com.example.order",
    )
    properties = json_schema(event)["properties"]
    assert list(properties) == ["kind", "version", "order_id"]
    assert properties["kind"]["const"] == "com.example.order"


def test_a_traceparent_is_no_trace_id() -> None:
    """The rules of the trace id are about what is taken out of it."""
    traced = contract(payload=(field("order_id"),))
    fields = tuple(
        replace(one, rules=Rules(pattern="[0-9a-f]{32}")) if one.name == "trace_id" else one for one in traced.fields
    )
    traced = replace(traced, fields=fields, envelope={**traced.envelope, "trace_id": "traceparent:parent"})
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    value = text(order(traced, currency=..., total_cents=..., trace_id=..., parent=parent))
    assert takes(traced, value) == keeps(traced, value) == [True]


def test_two_fields_in_one_place() -> None:
    """What is there must be right for both, and is needed when one of them is."""
    both = contract(
        payload=(field("order_id"), field("app", required=False, rules=Rules(max_length=3))),
        envelope={**{name: name for name in ENVELOPE}, "trace_id": "app"},
    )
    values = [text(order(both, currency=..., total_cents=..., trace_id=..., app=app)) for app in ("a", None, "abcd")]
    assert takes(both, *values) == keeps(both, *values) == [True, False, False]


def test_patterns_that_only_rust_reads_are_told_in_a_comment() -> None:
    def written(pattern: str) -> dict[str, Any]:
        made = json_schema(contract(payload=(field("order_id", rules=Rules(pattern=pattern)),)))
        return {key: value for key, value in made["properties"]["order_id"].items() if key.startswith(("p", "$"))}

    assert written("(?:[a-z]+-)*x") == {"pattern": "^(?:(?:[a-z]+-)*x)$"}
    for pattern in ("(?i)ab", "[[:alpha:]]+", r"\p{L}", "[a-z&&[^b]]", r"\Ax\z", "(?P<year>x)", "[]a]"):
        assert written(pattern) == {"$comment": f"Matches, in the regular expressions of Rust: {pattern}"}


def test_closed_refuses_what_it_does_not_name_at_any_depth() -> None:
    values = [
        text(order(**extra))
        for extra in (
            {},
            {"more": 1},
            {"ship": {"city": "x", "more": 1}},
            {"items": [{"sku": "a", "quantity": 1, "more": 1}]},
        )
    ]
    assert takes(ORDER, *values) == keeps(ORDER, *values) == [True] * 4
    assert takes(ORDER, *values, closed=True) == [True, False, False, False]


def test_types_inside_the_deepest_arrays() -> None:
    values = [
        text(order(items=[{"sku": "a", "quantity": 1, "seen": seen}]))
        for seen in (None, [], ["2013-01-01T10:17:00Z"], [None], ["2013-01-01T10:17:00"])
    ]
    assert takes(ORDER, *values) == keeps(ORDER, *values) == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("version", "kept"),
    [("1.0.0", True), ("1.4.0", True), ("1.0.1-rc.1+x", True), ("2.0.0", False), ("1.0", False), ("01.0.0", False)],
)
def test_versions_of_the_same_major(version: str, kept: bool) -> None:
    value = text(order(schema_version=version))
    assert takes(ORDER, value) == keeps(ORDER, value) == [kept]


def test_of_another_event() -> None:
    value = text(order(event_type="order_paid"))
    assert takes(ORDER, value) == keeps(ORDER, value) == [False]


RULED = replace(ORDER, row_rules=(RowRule("no_gifts", "NOT gift", "No gifts."),))


@pytest.mark.parametrize(
    "value",
    [
        text(order(RULED, gift=True)),
        text(order(RULED, idempotency_key="0" * 64)),
        text(order(RULED, order_id="X")).replace(b'"X"', b'"X", "order_id": "X"'),
        text(order(RULED, total_cents=100)).replace(b": 100", b": 100.0"),
        text(order(RULED, occurred_at="2013-02-30T10:17:00Z")),
        text(order(RULED, occurred_at="0001-01-01T00:00:00+01:00")),
        text(order(RULED, due="2013-02-29")),
        text(order(RULED, order_id="X", note="\ud800")),
    ],
    ids=["row rule", "key", "key twice", "1.0", "30 February", "year 0", "no leap year", "half a pair"],
)
def test_what_the_schema_takes_and_the_platform_does_not(value: bytes) -> None:
    """docs/schemas.md lists these."""
    assert (takes(RULED, value), keeps(RULED, value)) == ([True], [False])


def test_what_the_platform_takes_and_the_schema_does_not() -> None:
    """In Rust's regular expressions, but not in those of JSON Schema, \\d is any digit."""
    digits = contract(payload=(field("order_id", rules=Rules(pattern=r"\d+")),))
    value = text(order(digits, currency=..., total_cents=..., order_id="٣"))
    assert (takes(digits, value), keeps(digits, value)) == ([False], [True])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_open_schema_takes_exactly_what_the_platform_keeps(data: st.DataObject) -> None:
    payload = data.draw(payloads())
    found = data.draw(st.lists(events(payload), min_size=1, max_size=12))
    of = contract(payload=payload)
    values = [
        text(order(of, currency=..., total_cents=..., order_id=f"O-{number}", **event))
        for number, event in enumerate(found)
    ]
    assert takes(of, *values) == keeps(of, *values)
