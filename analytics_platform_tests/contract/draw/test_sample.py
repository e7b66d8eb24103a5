import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.decode import decode
from analytics_platform.contract.draw.sample import sample_sketch
from analytics_platform.contract.draw.sketch import Sketch
from analytics_platform.contract.draw.text import draft_text
from analytics_platform.contract.model import LogicalType
from analytics_platform.errors import NotImportable
from analytics_platform_tests.contract.draw.drawn import drawn, left_out, loaded, payload
from analytics_platform_tests.contract.draw.test_avro import field
from analytics_platform_tests.contract.example import one_connection, records

ENVELOPE = {"id": "e-1", "type": "order_placed", "version": "1.0.0", "time": "2013-01-01T10:17:00Z"}


def sampled(*values: Any, headers: Mapping[str, bytes | None] | None = None) -> Sketch:
    return sample_sketch([(json.dumps(value).encode(), headers or {}) for value in values], "orders", "order_placed")


def of(*values: Mapping[str, Any]) -> Sketch:
    """Events that hold these."""
    return sampled(*({**ENVELOPE, **value} for value in values))


def x(*values: Any) -> tuple[LogicalType, bool]:
    """Type of `x` in events that have it, `...` for one that has not; and whether it is required."""
    found = payload(of(*({"ok": True} if one is ... else {"ok": True, "x": one} for one in values)))["x"]
    return found.type, found.required


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", ""], "string"),
        ([1, -(2**63), 2**63 - 1], "integer"),
        ([1, 2.5], "number"),
        ([1.0], "number"),
        ([True, False], "boolean"),
        (["2013-01-01T10:17:00Z", "2013-01-01 10:17:00.5+01:00"], "timestamp"),
        (["2013-01-01T10:17:00Z", "2013-01-01T10:17:00"], "string"),
        (["2013-01-01T10:17:00"], "string"),
        (["2013-02-30T10:17:00Z"], "string"),
        (["2013-01-31", "2024-02-29"], "date"),
        (["2013-01-31", "2013-02-30"], "string"),
        (["2013-01-31", "2013-01-01T10:17:00Z"], "string"),
        (["1.0.0"], "string"),
    ],
    ids=str,
)
def test_types(values: list[Any], kind: str) -> None:
    assert x(*values) == (LogicalType(kind), True)


def test_required_is_what_every_record_has() -> None:
    assert x("a", "b") == (LogicalType.STRING, True)
    assert x("a", None) == x("a", ...) == (LogicalType.STRING, False)


def test_inside_objects_and_arrays_the_objects_there_count() -> None:
    found = payload(
        of(
            {"ok": 1, "ship": {"city": "x", "zip": None}, "lines": [{"sku": "a", "n": 1}, {"sku": "b"}], "tags": ["a"]},
            {"ok": 1, "lines": [], "tags": [None]},
        )
    )
    assert list(found.values()) == [
        field("ok", "integer"),
        field("ship", "object", required=False, fields=(field("city"),)),
        field(
            "lines",
            "array",
            item=field("item", "object", fields=(field("sku"), field("n", "integer", required=False))),
        ),
        field("tags", "array", item=field("item", required=False)),
    ]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["a", 1], "it holds integer and string, and a field has one type"),
        ([None, None], "it is null wherever it is"),
        ([[], []], "it is empty wherever it is, so what it holds is not known"),
        ([{}], "it is always empty"),
        ([2**63], "it holds whole numbers beyond 64 bits"),
        ([{"a@example.com": 1}], "it looks like a map, whose keys are data"),
        ([{f"k{number}": 1 for number in range(101)}], "it looks like a map, whose keys are data"),
        ([{"ana": 1}, {"bo": 1}, {"cy": 1}], "it looks like a map, whose keys are data"),
    ],
    ids=[*("two types", "null", "empty array", "empty object", "2^63", "no names", "very many", "each once")],
)
def test_what_cannot_be_told(values: list[Any], why: str) -> None:
    assert left_out(of(*({"ok": 1, "x": one} for one in values)))["x"] == why


def test_times_without_an_offset_are_told() -> None:
    found = left_out(of({"at": "2013-01-01T10:17:00"}))
    assert found == {"that at is a time": "not every value is RFC 3339 with an offset from UTC"}


def test_no_value_and_no_key_of_a_map_stands_in_the_draft() -> None:
    secret = ["ana@example.com", "Gartenweg 3", "secret_key", "hunter2", "O-77", "order-7"]
    sketch = sampled(
        *(
            {
                **ENVELOPE,
                "id": f"secret_id_{number}",
                "order_id": "O-77",
                "email": "ana@example.com",
                "password_hash": "hunter2",
                "home": {"street": "Gartenweg 3"},
                "scores": {f"secret_key_{number}": 1},
                "ana@example.com": 1,
                "reference": {"order-7": 1, "number": 1},
            }
            for number in range(3)
        ),
        headers={"correlation": b"secret_key"},
    )
    made = drawn(sketch)
    told = draft_text(made) + "".join(map(str, made.left_out))
    assert [word for word in [*secret, "secret_id"] if word in told] == []
    assert "1 key of reference" in told


TEXTS = st.one_of(
    st.text(max_size=3),
    st.sampled_from(["2013-01-31", "2013-02-30", "2013-01-01T10:17:00Z", "2013-01-01 10:17:00.1234567+14:00"]),
    st.sampled_from(["0001-01-01", "9999-12-31T23:59:59-14:00", "2013-01-01T24:00:00Z", "2016-12-31T23:59:60Z"]),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**64), 2**64), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
NAMES = st.sampled_from(["a", "b", "email", "at"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=5,
)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.dictionaries(NAMES, VALUES), min_size=1, max_size=4))
def test_every_record_that_a_draft_is_made_from_fits_it(values: list[dict[str, Any]]) -> None:
    events = [{**ENVELOPE, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "source": "shop", **one} for one in values]
    event = loaded(drawn(sampled(*events)))
    sent = records([json.dumps(one).encode() for one in events], topic=event.topic)
    found = decode(sent, [event], connection=one_connection())
    assert found.rejected.select("codes", "reasons").rows() == []
    assert found.rows[event.name].height == len(events)


def test_keys_that_are_data_beside_some_that_are_names() -> None:
    """A counter of each customer in the event itself, and in an object that has a total."""
    sketch = of(*({"n": 1, f"secret_{i}": 1, "scores": {"total": 1, f"secret_{i}": 1}} for i in range(9)))
    told = draft_text(drawn(sketch)) + str(left_out(sketch))
    assert "secret_" not in told
    assert [name for name in left_out(sketch) if "keys" in name] == ["9 keys", "9 keys of scores"]
    assert list(payload(sketch)) == ["n", "scores"]


def test_optional_fields_that_are_rare() -> None:
    assert list(payload(of({"a": 1, "b": 1}, {"a": 1, "c": 1}, {"a": 1, "d": 1}, {"a": 1}))) == ["a", "b", "c", "d"]


def test_a_version_that_a_new_contract_has_not() -> None:
    found = left_out(of({"version": "3.1.0", "a": 1}))
    assert found == {"that version begins with another number than 1": "a contract that begins is of version 1.0.0"}


def test_personal_fields_are_restricted_and_dropped_until_somebody_says_otherwise() -> None:
    event = loaded(drawn(of({"email": "a", "ip": "b", "emails": ["a"], "home": {"firstName": "a", "city": "c", "last_name": "d"}, "email_sent": True, "recipe": "x"})))  # fmt: skip
    restricted = {one.name for one in event.fields if one.classification == "restricted"}
    assert restricted == {"email", "ip", "emails"}
    home = next(one for one in event.fields if one.name == "home")
    assert {one.name: one.classification for one in home.fields} == {"city": None, "last_name": "restricted"}


def test_a_personal_identifier_is_hashed() -> None:
    made = drawn(of({"email": "a", "phone_number": 1, "seen_at": "2013-01-01T10:17:00Z"}), "email", "phone_number")
    treatments = {one.name: str(one.treatment.op) for one in loaded(made).fields if one.treatment is not None}
    assert treatments == {"email": "hash", "phone_number": "keep"}


def test_only_records_of_the_event_count_where_they_say_so() -> None:
    sketch = of({"a": 1}, {"type": "order_paid", "b": 1}, {"a": 2})
    assert list(payload(sketch)) == ["a"]
    assert left_out(sketch) == {"1 of the sampled records": "type says that they are another event"}


def test_a_type_that_is_never_this_event_is_a_field_like_others() -> None:
    made = drawn(of({"type": "web"}, {"type": "store"}))
    assert "event_type" in made.missing
    assert [one.name for one in loaded(made).fields[6:]] == ["type"]


def test_a_version_that_is_none_is_a_field_like_others() -> None:
    made = drawn(of({"version": "7", "a": 1}))
    assert "schema_version" in made.missing
    assert [one.name for one in loaded(made).fields[6:]] == ["version", "a"]


def test_fields_of_the_envelope_in_headers() -> None:
    headers = {
        "traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "ce_type": b"order_placed",
        "eventId": b"\xff",
        "event-version": b"seven",
        "source": b"/shop",
    }
    made = drawn(sampled({"order_id": "O-1", "time": "2013-01-01T10:17:00Z"}, headers=headers), "order_id")
    assert dict(loaded(made).envelope) == {
        "idempotency_key": "idempotency_key",
        "event_type": "header:ce_type",
        "schema_version": "header:schema_version",
        "trace_id": "traceparent:header:traceparent",
        "occurred_at": "time",
        "source": "header:source",
    }


def test_records_that_are_no_events_are_counted() -> None:
    records = [(None, {}), (b"{", {}), (b"[1]", {}), (b"\x00\x00\x00\x00\x01x", {}), (b'{"id": "a", "x": 1}', {})]
    found = sample_sketch(records, "orders", "order_placed").left_out
    assert [(one.what, one.why) for one in found] == [
        ("1 of the sampled records", "they are tombstones, without a value"),
        ("3 of the sampled records", "they are no JSON objects"),
    ]


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], "it holds no record"),
        ([(None, {}), (b"\x00\x00\x00\x00\x01x", {})], "none of 2 sampled records is a JSON object .*--subject"),
        ([(json.dumps({f"k{n}": 1 for n in range(1001)}).encode(), {})], "more than 1000 different fields"),
    ],
    ids=["nothing", "framed", "a map"],
)
def test_nothing_to_start_from(records: Any, why: str) -> None:
    with pytest.raises(NotImportable, match=why):
        sample_sketch(records, "orders", "order_placed")
