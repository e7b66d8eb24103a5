import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.contract.cloudevents import ATTRIBUTES
from analytics_platform.outline import known_names, outline
from analytics_platform_tests.contract.example import ORDER

KNOWN = known_names([ORDER])


def shape(value: object) -> str:
    return outline(json.dumps(value).encode(), KNOWN)


def test_types_stand_where_values_stood() -> None:
    event = {"order_id": "O-1", "total_cents": 7, "weight": 1.5, "gift": True, "note": None, "due": "2013-01-01"}
    assert json.loads(shape(event)) == {
        "order_id": "string",
        "total_cents": "integer",
        "weight": "number",
        "gift": "boolean",
        "note": "null",
        "due": "string",
    }


def test_objects_and_arrays_show_what_is_inside_each_shape_once() -> None:
    item = {"sku": "a", "quantity": 1, "seen": ["x", "y"]}
    event = {"ship": {"city": "x"}, "items": [item, item, {"sku": 7}], "tags": []}
    assert json.loads(shape(event)) == {
        "ship": {"city": "string"},
        "items": [{"sku": "string", "quantity": "integer", "seen": ["string"]}, {"sku": "integer"}],
        "tags": [],
    }


def test_arrays_of_many_shapes_are_cut() -> None:
    assert json.loads(shape({"tags": [1, "a", None, 1.5, True]})) == {"tags": ["integer", "string", "null", "…"]}


def test_names_that_no_contract_knows_are_counted() -> None:
    """A name that is known at the top is none inside of an object that has not got it."""
    event = {"ana@example.com": 1, "x": {"order_id": 2}, "ship": {"order_id": "O-1", "city": "x"}}
    assert json.loads(shape(event)) == {"ship": {"city": "string", "…": "1 unknown"}, "…": "2 unknown"}


def test_what_is_no_json() -> None:
    assert outline(None, KNOWN) == "null"
    assert outline(b"{", KNOWN) == "1 bytes that are not JSON"
    assert outline(b'{"order_id": "\xff"}', KNOWN) == "17 bytes that are not JSON"
    assert outline(b"[" * 100_000, KNOWN) == "100000 bytes that are not JSON"


LETTERS = st.text("äöüßÄÖ", min_size=1)
"""None of them is in a contract's name or a type's."""


@given(
    st.recursive(LETTERS, lambda inner: st.lists(inner) | st.dictionaries(LETTERS | st.sampled_from([*KNOWN]), inner))
)
def test_no_letter_of_a_value_or_of_an_unknown_name_is_shown(value: object) -> None:
    assert not set(shape(value)) & set("äöüßÄÖ")


def test_the_attributes_of_cloudevents_are_known_and_their_payload_stands_in_data() -> None:
    known = known_names([replace(ORDER, envelope=ATTRIBUTES, cloudevents="com.example.order")])
    event = {
        "type": "x",
        "dataschema": "x",
        "private": 1,
        "data": {"order_id": "O-1", "ship": {"city": "x"}, "private": 1},
    }
    assert json.loads(outline(json.dumps(event).encode(), known)) == {
        "type": "string",
        "dataschema": "string",
        "data": {"order_id": "string", "ship": {"city": "string"}, "…": "1 unknown"},
        "…": "1 unknown",
    }
