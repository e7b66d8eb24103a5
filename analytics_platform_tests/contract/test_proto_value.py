import json
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.batch_text import Unreadable
from analytics_platform.contract.proto_value import ProtoReader, indexes_in, proto_reader
from analytics_platform.contract.protoc import ProtoInvalid, descriptors
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat

SMALL = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Other { optional string text = 1; }
message Event {
  optional string text = 1;
  optional int64 number = 2;
  int32 plain = 3;
  optional double share = 4;
  float small = 5;
  Colour colour = 6;
  optional google.protobuf.Timestamp at = 7;
  repeated Item items = 8;
  optional Item one = 9;
  repeated string tags = 10;
  oneof choice { bool yes = 11; uint64 much = 12; }
  repeated google.protobuf.Timestamp times = 13;
  message Item { optional string sku = 1; sint32 quantity = 2; }
}
enum Colour { RED = 0; BLUE = 1; }
"""
WIDE = """
syntax = "proto3";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/duration.proto";
import "parts/part.proto";
message Event {
  bytes raw = 1;
  map<string, int64> counts = 2;
  map<bool, part.Part> parts = 3;
  google.protobuf.StringValue wrapped = 4;
  google.protobuf.Int64Value number = 5;
  google.protobuf.Struct anything = 6;
  google.protobuf.Duration took = 7;
  google.protobuf.Timestamp at = 8;
  Event inner = 9;
}
"""
PART = 'syntax = "proto3"; package part; message Part { optional string name = 1; }'


def registered(text: str, *references: tuple[str, str]) -> RegisteredSchema:
    return RegisteredSchema(WireFormat.PROTOBUF, text, references)


SMALL_SCHEMA = registered(SMALL)
WIDE_SCHEMA = registered(WIDE, ("parts/part.proto", PART))


def message(schema: RegisteredSchema, name: str, **fields: Any) -> Message:
    return message_factory.GetMessageClass(descriptors(schema).pool.FindMessageTypeByName(name))(**fields)


def said(reader: ProtoReader, values: list[bytes]) -> tuple[list[Any], dict[int, str]]:
    """What the values say; writers of JSON differ in `1e16` and `1e+16`."""
    texts, faults = reader.texts(values)
    return [None if text is None else json.loads(text) for text in texts], faults


def test_what_is_absent_and_what_is_default() -> None:
    (found,), faults = said(ProtoReader(SMALL_SCHEMA, (1,)), [b""])
    assert faults == {}
    assert found == {
        "text": None,
        "number": None,
        "plain": 0,
        "share": None,
        "small": 0.0,
        "colour": "RED",
        "at": None,
        "items": [],
        "one": None,
        "tags": [],
        "yes": None,
        "much": None,
        "times": [],
    }


def test_every_type_of_a_batch() -> None:
    event = message(
        SMALL_SCHEMA, "shop.Event", text="Zürich", number=-(2**63), plain=-1, share=0.1, small=0.1, colour=1
    )
    event.at.FromJsonString("2013-01-01T10:17:00.000001Z")
    event.items.add(sku="a", quantity=-2)
    event.one.SetInParent()
    event.tags.extend(["x", ""])
    event.much = 2**64 - 1
    event.times.add(seconds=-1)
    (found,), _ = said(ProtoReader(SMALL_SCHEMA, (1,)), [event.SerializeToString()])
    assert found == {
        "text": "Zürich",
        "number": -(2**63),
        "plain": -1,
        "share": 0.1,
        "small": 0.10000000149011612,
        "colour": "BLUE",
        "at": "2013-01-01T10:17:00.000001Z",
        "items": [{"sku": "a", "quantity": -2}],
        "one": {"sku": None, "quantity": 0},
        "tags": ["x", ""],
        "yes": None,
        "much": 2**64 - 1,
        "times": ["1969-12-31T23:59:59Z"],
    }


def test_types_that_no_batch_holds() -> None:
    event = message(WIDE_SCHEMA, "Event", raw=b"\x00\xff", counts={"a": 1})
    event.parts[True].name = "p"
    event.wrapped.value = ""
    event.anything.update({"x": [1, None]})
    event.took.FromMilliseconds(1500)
    event.at.seconds, event.at.nanos = 1, 123456789
    event.inner.SetInParent()
    reader = ProtoReader(WIDE_SCHEMA, (0,))
    assert reader._batches is None
    (found,), _ = said(reader, [event.SerializeToString()])
    nothing = dict.fromkeys(found) | {"raw": "", "counts": {}, "parts": {}}
    assert found == {
        "raw": "AP8=",
        "counts": {"a": 1},
        "parts": {"true": {"name": "p"}},
        "wrapped": "",
        "number": None,
        "anything": {"x": [1.0, None]},
        "took": "1.500s",
        "at": "1970-01-01T00:00:01.123456789Z",
        "inner": nothing,
    }


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"\x0a\x05abc", "the value does not fit its schema"),
        (b"\x0a\x02\xff\xff", "the value does not fit its schema"),
        (b"\xff", "the value does not fit its schema"),
        (b"\x3a\x0b\x08" + b"\xff" * 8 + b"\x7f\x00", "the value does not fit its schema"),
    ],
)
def test_a_broken_value_is_told_and_its_neighbours_stand(bad: bytes, sentence: str) -> None:
    good = message(SMALL_SCHEMA, "shop.Event", text="x").SerializeToString()
    values = [good] * 50
    values[17] = bad
    found, faults = said(ProtoReader(SMALL_SCHEMA, (1,)), values)
    assert faults == {17: sentence}
    assert {json.dumps(one) for one in found[:17] + found[18:]} == {json.dumps(found[0])}


def test_times_that_no_calendar_has() -> None:
    late, bad = message(SMALL_SCHEMA, "shop.Event"), message(SMALL_SCHEMA, "shop.Event")
    late.at.seconds, bad.at.nanos = 253_402_300_800, -1
    found, faults = said(ProtoReader(SMALL_SCHEMA, (1,)), [late.SerializeToString(), bad.SerializeToString()])
    assert found == [None, None]
    assert set(faults.values()) == {"a time is out of range"}


def test_a_value_of_a_newer_schema() -> None:
    """What the schema does not know is passed over, and an enum's new value is its number."""
    value = message(SMALL_SCHEMA, "shop.Event", text="x").SerializeToString() + b"\x30\x09\xa2\x06\x01y"
    (found,), faults = said(ProtoReader(SMALL_SCHEMA, (1,)), [value])
    assert faults == {}
    assert (found["text"], found["colour"]) == ("x", "9")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"\x00rest", ((0,), 1)),
        (b"\x02\x00rest", ((0,), 2)),
        (b"\x02\x02", ((1,), 2)),
        (b"\x04\x02\x00x", ((1, 0), 3)),
        (b"", None),
        (b"\x01", None),
        (b"\x02\x01", None),
        (b"\x7e", None),
        (b"\xff\xff\xff\xff\xff\xff", None),
    ],
)
def test_message_indexes(value: bytes, found: Any) -> None:
    assert indexes_in(value, 0) == found


def test_a_message_inside_another() -> None:
    item = message(SMALL_SCHEMA, "shop.Event.Item", sku="a").SerializeToString()
    (found,), _ = said(ProtoReader(SMALL_SCHEMA, (1, 0)), [item])
    assert found == {"sku": "a", "quantity": 0}


@pytest.mark.parametrize(
    ("text", "indexes", "why"),
    [
        ("message {", (0,), "its schema is no Protobuf file that can be read"),
        ('syntax = "proto3"; import "nowhere.proto";', (0,), "its schema is no Protobuf file that can be read"),
        (SMALL, (2,), "its schema has no message of its indexes"),
        (SMALL, (0, 0), "its schema has no message of its indexes"),
    ],
)
def test_schemas_by_which_nothing_is_read(text: str, indexes: tuple[int, ...], why: str) -> None:
    found = proto_reader(registered(text), indexes)
    assert isinstance(found, Unreadable)
    assert str(found) == why


def test_more_than_a_process_can_hold() -> None:
    wide = "".join(f"string f{number} = {number};" for number in range(1, 6000))
    found = proto_reader(registered(f'syntax = "proto3"; message A {{ {wide} }}'), (0,))
    assert str(found) == "its schema is no Protobuf file that can be read"
    deep = "".join(f"message M{level} {{ M{level + 1} inside = 1; }}" for level in range(900))
    found = proto_reader(registered(f'syntax = "proto3"; {deep} message M900 {{}}'), (0,))
    assert str(found) == "its schema nests too deep"


def test_an_import_that_leaves_its_folder() -> None:
    assert isinstance(proto_reader(registered(SMALL, ("../x.proto", PART)), (0,)), Unreadable)


ITEMS = st.builds(dict, sku=st.none() | st.text(max_size=4), quantity=st.integers(-(2**31), 2**31 - 1))
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=6),
        "number": st.integers(-(2**63), 2**63 - 1),
        "plain": st.integers(-(2**31), 2**31 - 1),
        "share": st.floats(),
        "small": st.floats(width=32),
        "colour": st.integers(0, 3),
        "items": st.lists(ITEMS, max_size=3),
        "one": ITEMS,
        "tags": st.lists(st.text(max_size=3), max_size=3),
        "much": st.integers(0, 2**64 - 1),
    },
)
TIMES = st.lists(st.tuples(st.integers(-(2**37), 2**38), st.integers(-1, 10**9)), max_size=2)


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    """Values of which some are broken."""
    values = []
    for fields in draw(st.lists(EVENTS, min_size=1, max_size=8)):
        event = message(SMALL_SCHEMA, "shop.Event", **fields)
        for seconds, nanos in draw(TIMES):
            event.times.add(seconds=seconds, nanos=nanos)
        values.append(event.SerializeToString())
    for place in draw(st.lists(st.integers(0, len(values) - 1), max_size=2)):
        broken = bytearray(values[place] or b"\x00")
        broken[draw(st.integers(0, len(broken) - 1))] = draw(st.integers(0, 255))
        values[place] = bytes(broken[: draw(st.integers(0, len(broken)))] if draw(st.booleans()) else broken)
    return values


@settings(deadline=None, max_examples=200)
@given(batches())
def test_what_becomes_of_a_value_depends_on_it_alone(values: list[bytes]) -> None:
    reader = ProtoReader(SMALL_SCHEMA, (1,))
    assert reader._batches is not None
    together = said(reader, values)
    reader._batches = None
    assert together == said(reader, values)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("message Broken {", "2:1: Reached end of input in message definition (missing '}')."),
        ('syntax = "proto3"; message A { B b = 1; }', '1:32: "B" is not defined.'),
        ('syntax = "proto3"; import "no.proto";', "no.proto: File not found."),
    ],
)
def test_protocs_first_complaint_without_its_log_and_its_folder(text: str, complaint: str) -> None:
    with pytest.raises(ProtoInvalid) as caught:
        descriptors(registered(f"{text}\n"))
    assert str(caught.value) == complaint
