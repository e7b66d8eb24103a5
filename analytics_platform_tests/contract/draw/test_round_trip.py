"""The law of importing: a schema that was made from a contract makes a contract that makes the same schema."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.json_schema import json_schema
from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import ENVELOPE, EventContract, Field, KeyMode, Rules
from analytics_platform.contract.wire import value_fields
from analytics_platform_tests.contract.draw.drawn import (
    again_avro,
    again_json,
    drawn,
    in_any_order,
    loaded,
    of_avro,
    of_json,
)
from analytics_platform_tests.contract.example import ORDER, contract, field, order
from analytics_platform_tests.contract.shapes import events, payloads
from analytics_platform_tests.contract.test_json_schema import SMALL

FLIGHTS = load_catalog(Path(__file__).parents[3] / "contracts").domains["flights"].events

PLACES = {
    "idempotency_key": ["idempotency_key", "id", "eventId", "header:key"],
    "event_type": ["event_type", "type", "eventType", "kind", "header:type"],
    "schema_version": ["schema_version", "schemaVersion", "edition", "header:version"],
    "trace_id": ["trace_id", "traceId", "traceparent:traceparent", "header:trace", "run"],
    "occurred_at": ["occurred_at", "time", "eventTime", "happened_at", "header:at"],
    "source": ["source", "producer", "sent_by", "header:source"],
}
"""Names that are guessed, and snake-cased ones that are not: those come back as fields of the payload."""


def sane(rules: Rules) -> Rules:
    """Without bounds that no value satisfies, which no contract may have."""
    lows = [bound for bound in (rules.minimum, rules.exclusive_minimum) if bound is not None]
    highs = [bound for bound in (rules.maximum, rules.exclusive_maximum) if bound is not None]
    pairs = [(max(lows), min(highs))] if lows and highs else []
    lengths = [(rules.min_length, rules.max_length), (rules.min_items, rules.max_items)]
    pairs += [(low, high) for low, high in lengths if low is not None and high is not None]
    return rules if all(low < high for low, high in pairs) else Rules()


def as_loaded(of: Field) -> Field:
    item = None if of.item is None else replace(as_loaded(of.item), name="item")
    return replace(of, rules=sane(of.rules), item=item, fields=tuple(as_loaded(one) for one in of.fields))


@st.composite
def contracts(draw: st.DrawFn) -> EventContract:
    of = contract(
        payload=tuple(as_loaded(one) for one in draw(payloads())),
        envelope={key: draw(st.sampled_from(places)) for key, places in PLACES.items()},
        mode=draw(st.sampled_from(KeyMode)),
    )
    optional = draw(st.booleans())
    fields = tuple(replace(one, required=not optional) if one.name == "trace_id" else one for one in of.fields)
    return replace(of, fields=fields)


def key_of(of: EventContract) -> tuple[str, ...]:
    """What a person has to say: nothing where the value holds the event's own key."""
    sent = of.identity.mode is not KeyMode.DERIVE and not of.envelope["idempotency_key"].startswith("header:")
    return () if sent else ("order_id",)


def test_flights() -> None:
    assert len(FLIGHTS) >= 4
    for event in FLIGHTS:
        for closed in (False, True):
            assert in_any_order(again_json(event, closed=closed)) == in_any_order(json_schema(event, closed=closed))
        assert in_any_order(again_avro(event)) == in_any_order(avro_schema(event)) | {"namespace": "shop"}


@pytest.mark.parametrize("of", [ORDER, SMALL], ids=["every type", "other names"])
def test_every_type(of: EventContract) -> None:
    assert in_any_order(again_json(of)) == in_any_order(json_schema(of))
    assert in_any_order(again_avro(of)) == in_any_order(avro_schema(of))


@settings(max_examples=40, deadline=None)
@given(of=contracts(), closed=st.booleans())
def test_json_schema(of: EventContract, closed: bool) -> None:
    assert in_any_order(again_json(of, *key_of(of), closed=closed)) == in_any_order(json_schema(of, closed=closed))
    assert drawn(of_json(json_schema(of)), *key_of(of)).left_out == ()


@settings(max_examples=40, deadline=None)
@given(of=contracts())
def test_avro(of: EventContract) -> None:
    assert in_any_order(again_avro(of, *key_of(of))) == in_any_order(avro_schema(of))
    assert drawn(of_avro(avro_schema(of)), *key_of(of)).left_out == ()


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_two_fields_in_one_place_become_one_that_takes_the_same(data: st.DataObject) -> None:
    fields = (*data.draw(payloads()), field("app", required=data.draw(st.booleans()), rules=Rules(max_length=3)))
    of = contract(
        payload=tuple(as_loaded(one) for one in fields),
        envelope={**{key: key for key in ENVELOPE}, "trace_id": "app"},
    )
    (before, after) = (jsonschema_rs.validator_for(one) for one in (json_schema(of), again_json(of)))
    values = data.draw(st.lists(events(of.fields[6:]), min_size=1, max_size=10))
    for number, value in enumerate(values):
        event = order(of, currency=..., total_cents=..., trace_id=..., order_id=f"O-{number}", **value)
        assert before.is_valid(event) == after.is_valid(event)


def test_patterns_that_only_rust_reads_come_back() -> None:
    of = contract(payload=(field("order_id", rules=Rules(pattern="(?i)[[:alpha:]&&[^b]]+")),))
    assert in_any_order(again_json(of)) == in_any_order(json_schema(of))


def test_what_is_deprecated_stays_so() -> None:
    of = contract(payload=(field("order_id"), field("coupon", required=False, deprecated=True)))
    assert loaded(drawn(of_json(json_schema(of)))).fields[-1].deprecated


def test_of_another_major_the_version_is_told() -> None:
    of = contract(version="2.1.0", payload=(field("order_id"),))
    made = drawn(of_json(json_schema(of)))
    assert [str(one) for one in made.left_out] == [
        "that schema_version begins with 2, because a contract that begins is of version 1.0.0"
    ]
    assert json_schema(loaded(made))["title"] == "order_placed@1.0.0"


def test_places_that_are_not_guessed_are_told_as_missing() -> None:
    of = contract(payload=(field("order_id"),), envelope=_unusual(PLACES))
    made = drawn(of_json(json_schema(of)), "order_id")
    assert set(made.missing) == {"trace_id", "occurred_at", "source"}
    assert set(value_fields(loaded(made))) == set(value_fields(of))


def _unusual(places: Mapping[str, list[str]]) -> dict[str, str]:
    last = {"idempotency_key": "header:key", "trace_id": "run", "occurred_at": "happened_at", "source": "sent_by"}
    return {key: last.get(key, found[3 if key == "event_type" else 2]) for key, found in places.items()}
