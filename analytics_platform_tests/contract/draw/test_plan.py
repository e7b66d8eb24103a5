from typing import Any

import pytest

from analytics_platform.contract.model import KeyMode, LogicalType
from analytics_platform.errors import NotImportable
from analytics_platform_tests.contract.draw.drawn import drawn, left_out, loaded, of_json

STRING, TIME = {"type": "string"}, {"type": "string", "format": "date-time"}


def event(*optional: str, **properties: Any) -> Any:
    required = [name for name in properties if name not in optional]
    return of_json({"type": "object", "properties": properties, "required": required})


ORDER = event(
    "note", order_id=STRING, number={"type": "integer"}, placed_at=TIME, weight={"type": "number"}, note=STRING
)


def test_identifiers_are_asked_for() -> None:
    with pytest.raises(
        NotImportable, match=r"--key has to name the fields .*; those are order_id, number, placed_at\."
    ):
        drawn(ORDER)
    with pytest.raises(NotImportable, match=r"; there is none\."):
        drawn(event(weight={"type": "number"}))


@pytest.mark.parametrize("name", ["note", "weight", "gone", "event_type"])
def test_what_cannot_identify(name: str) -> None:
    with pytest.raises(NotImportable, match=f"--key {name} is no required field of type string, integer, timestamp"):
        drawn(ORDER, name)


@pytest.mark.parametrize("name", ["order_id", "gone"])
def test_what_is_no_time(name: str) -> None:
    with pytest.raises(NotImportable, match=f"--time-field {name} is no required timestamp .*; those are placed_at"):
        drawn(ORDER, "order_id", time_field=name)


def test_the_time_is_an_identifier_and_says_when() -> None:
    found = loaded(drawn(ORDER, "order_id", "number", time_field="placed_at"))
    assert (found.identity.by, found.identity.time_field) == (("order_id", "number", "placed_at"), "placed_at")
    assert (found.identity.mode, found.identity.window) == (KeyMode.DERIVE, None)
    assert found.envelope["occurred_at"] == "placed_at"
    assert [one.name for one in found.fields[6:]] == ["order_id", "number", "placed_at", "weight", "note"]


def test_without_a_time_copies_are_looked_for_within_a_window() -> None:
    identity = loaded(drawn(ORDER, "order_id")).identity
    assert (identity.time_field, identity.window.days) == (None, 7)  # type: ignore[union-attr]


def test_a_time_of_the_envelope_may_identify_too() -> None:
    found = loaded(drawn(event(order_id=STRING, time=TIME), "order_id", time_field="time"))
    assert found.identity.by == ("order_id", "time")
    assert found.envelope["occurred_at"] == "time"


def test_the_events_own_key_is_trusted_until_identifiers_are_named() -> None:
    for own, mode, rest in (("idempotency_key", KeyMode.VERIFY, []), ("eventId", KeyMode.DERIVE, [])):
        sketch = event(**{own: STRING}, order_id=STRING)
        assert loaded(drawn(sketch)).identity.mode is KeyMode.TRUST
        named = loaded(drawn(sketch, "order_id"))
        assert named.identity.mode is mode
        assert [one.name for one in named.fields[6:]] == ["order_id", *rest]
    assert "eventId" in left_out(event(eventId=STRING, order_id=STRING), "order_id")


def test_an_id_that_identifies_is_a_field() -> None:
    found = loaded(drawn(event(id=STRING), "id"))
    assert (found.identity.by, found.identity.mode) == (("id",), KeyMode.DERIVE)


@pytest.mark.parametrize(
    ("names", "places"),
    [
        ("id type version trace time source", "id type version trace time source"),
        ("eventId eventType schemaVersion traceId eventTime producer",) * 2,
        ("event_id event_name event_version traceparent event_timestamp event_source",
         "event_id event_name event_version traceparent:traceparent event_timestamp event_source"),
        ("messageId type version traceParent timestamp source",
         "messageId type version traceparent:traceParent timestamp source"),
    ],
)  # fmt: skip
def test_names_that_leave_little_doubt(names: str, places: str) -> None:
    sketch = event(**{name: TIME if "time" in name.lower() else STRING for name in names.split()}, order_id=STRING)
    made = drawn(sketch)
    assert list(loaded(made).envelope.values()) == places.split()
    assert (made.missing, made.left_out) == ((), ())


def test_the_surest_name_is_taken_and_the_others_are_fields() -> None:
    found = loaded(drawn(event(id=STRING, event_id=STRING, time=TIME, occurred_at=TIME)))
    assert (found.envelope["idempotency_key"], found.envelope["occurred_at"]) == ("event_id", "occurred_at")
    assert [one.name for one in found.fields[6:]] == ["id", "time"]


def test_names_of_the_envelope_that_mean_something_else() -> None:
    sketch = event(
        id=STRING, a=STRING, occurred_at={"type": "integer"}, source={"type": "object", "properties": {"a": STRING}}
    )
    found = left_out(sketch)
    assert set(found) >= {"occurred_at", "source"}
    assert "occurred_at" in drawn(sketch).missing
    assert [one.name for one in loaded(drawn(sketch)).fields[6:]] == ["a"]


def test_a_field_of_the_envelope_that_may_be_absent() -> None:
    """Under its own name there is no other place for it; under another it stays what it is."""
    sketch = event("event_type", "time", id=STRING, event_type=STRING, time=TIME)
    made = drawn(sketch)
    assert [str(one) for one in made.left_out if "event_type may" in one.what] == [
        "that event_type may be absent, because every event has its event_type"
    ]
    found = loaded(made)
    assert found.fields[1].required
    assert [(one.name, one.type, one.required) for one in found.fields[6:]] == [("time", LogicalType.TIMESTAMP, False)]


def test_names_that_no_place_can_have() -> None:
    """A contract names no field with a space or a dash, and none that case alone tells from another."""
    names = ["event-id", "Id", "ID", "id", "event type", "Source", "Trace_Id", "Time", "time", "Event.Version"]
    kinds = {name: TIME if name.lower() == "time" else STRING for name in names}
    found = loaded(drawn(event(**kinds)))
    assert (found.envelope["idempotency_key"], found.envelope["occurred_at"]) == ("id", "time")
    assert {found.envelope[key] for key in ("event_type", "schema_version", "trace_id", "source")} == {
        "header:event_type",
        "header:schema_version",
        "header:trace_id",
        "header:source",
    }


def test_a_type_that_is_never_this_event_says_so() -> None:
    found = left_out(event(id=STRING, event_type={"const": "order.placed"}))
    assert found["event_type"] == "it is never order_placed, and records find a contract by its name"
