from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import EventContract, Field, Rules
from analytics_platform.contract.proto import proto_schema
from analytics_platform.contract.protoc import descriptors
from analytics_platform.errors import ContractError, NotInProtobuf
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat
from analytics_platform_tests.contract.example import contract, field
from analytics_platform_tests.contract.shapes import in_protobuf, payloads
from analytics_platform_tests.contract.test_json_schema import SMALL
from analytics_platform_tests.contract.tree import ORDER_FILE, change, write_tree

CARRIED = replace(SMALL, fields=tuple(in_protobuf(one) for one in SMALL.fields))


def message_of(of: EventContract, *before: EventContract) -> Descriptor:
    """The message that protoc makes of it."""
    compiled = descriptors(RegisteredSchema(WireFormat.PROTOBUF, proto_schema(of, [of, *before])))
    (found,) = compiled.file.message_types_by_name.values()
    return found


def version(number: str, *payload: Field) -> EventContract:
    return contract(version=number, payload=(field("order_id"), *payload))


def test_every_type() -> None:
    assert (
        proto_schema(CARRIED, [CARRIED])
        == """\
syntax = "proto3";

package shop;

import "google/protobuf/timestamp.proto";

// order_placed
message OrderPlaced {
  // The idempotency_key.
  optional string id = 1;
  // The event_type.
  optional string type = 2;
  // The occurred_at.
  optional google.protobuf.Timestamp time = 3;
  // The source.
  optional string source = 4;
  // The order_id.
  optional string order_id = 5;
  // The currency.
  optional string currency = 6;
  // The cents.
  optional int64 cents = 7;
  // The weight.
  optional double weight = 8;
  // The due.
  // A day, as in 2013-01-31.
  optional string due = 9;
  // The gift.
  optional bool gift = 10;
  message Lines {
    // The sku.
    optional string sku = 1;
    // The at.
    optional google.protobuf.Timestamp at = 2;
  }
  // The lines.
  repeated Lines lines = 11;
}
"""
    )


def test_fields_come_and_go_and_come_back() -> None:
    note, colour, size = field("note"), field("colour"), field("size")
    first = version("1.0.0", note, colour)
    second = version("1.1.0", size, colour)
    third = version("1.10.0", field("last"), note, colour)
    versions = [third, first, second]
    numbers = {one.name: one.number for one in message_of(third, first, second).fields}
    assert {name: numbers[name] for name in ("order_id", "note", "colour", "last")} == {
        "order_id": 7,
        "note": 8,
        "colour": 9,
        "last": 11,
    }
    text = proto_schema(third, versions)
    assert '  reserved 10;\n  reserved "size";\n' in text
    assert '  reserved 8;\n  reserved "note";\n' in proto_schema(second, versions)


def test_a_field_inside_goes() -> None:
    def line(*names: str) -> Field:
        return field("lines", "array", item=field("item", "object", fields=tuple(map(field, names))))

    first, second = version("1.0.0", line("a", "b")), version("1.1.0", line("c", "b"))
    inner = message_of(second, first).fields_by_name["lines"].message_type
    assert {one.name: one.number for one in inner.fields} == {"c": 3, "b": 2}
    assert '  message Lines {\n    reserved 1;\n    reserved "a";\n' in proto_schema(second, [first, second])


def test_later_versions_and_other_majors_make_no_difference() -> None:
    old, of, new = (version("1.9.0", field("a")), version("2.0.0", field("b")), version("2.1.0", field("c")))
    assert proto_schema(of, [old, of, new]) == proto_schema(of, [of])


def test_names_of_messages() -> None:
    inner = (field("at", "timestamp"),)
    names = ("a_1", "b__c", "a_b", "ab", "order_placed", "google", "message", "optional", "c_")
    found = message_of(contract(payload=tuple(field(name, "object", fields=inner) for name in names)))
    assert found.full_name == "shop.OrderPlaced"
    messages = [one.message_type.name for one in found.fields[6:]]
    assert messages == ["A_1", "B_C", "AB", "Ab", "OrderPlaced_Inner", "Google", "Message", "Optional", "C_"]


def test_words_of_several_lines() -> None:
    of = contract(payload=(replace(field("order_id"), description='One.\n\n  */ "two" \\'),))
    assert '  // One.\n  //\n  //   */ "two" \\\n  optional string order_id' in proto_schema(of, [of])
    message_of(of)


TAGS = field("tags", "array", item=field("item"))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (replace(TAGS, item=field("item", required=False)), "tags: its items may be null"),
        (replace(TAGS, item=TAGS), "tags: its items are arrays"),
        (
            replace(TAGS, required=False, rules=Rules(min_items=1)),
            "tags: it may be null but not empty, and Protobuf cannot tell the two apart",
        ),
        (
            field("o", "object", fields=(field("p", "array", item=field("q", "object", False, fields=(TAGS,))),)),
            "o.p: its items may be null",
        ),
        (
            field("p", "array", item=field("q", "object", fields=(replace(TAGS, item=TAGS),))),
            "p[].tags: its items are arrays",
        ),
        (field("o", "object", fields=(field("a_1"), field("a1"))), "o.a1: it would have the JSON name of a_1"),
    ],
)
def test_what_protobuf_cannot_carry(wrong: Field, sentence: str) -> None:
    with pytest.raises(NotInProtobuf) as caught:
        proto_schema(contract(payload=(wrong,)), [])
    assert str(caught.value) == (
        f"order_placed@1.0.0: Protobuf cannot carry {sentence}. Avro and JSON Schema can: see docs/schemas.md#protobuf."
    )


SAYABLE = payloads().map(lambda found: tuple(in_protobuf(one) for one in found))


def agrees(found: Descriptor, fields: tuple[Field, ...]) -> None:
    """The message has these fields, and says whether each is there."""
    assert [one.name for one in found.fields] == [one.name for one in fields]
    for one, of in zip(found.fields, fields, strict=True):
        assert one.is_repeated == (of.item is not None)
        assert one.is_repeated or one.has_presence
        inner = of.item or of
        if inner.fields:
            agrees(one.message_type, inner.fields)


@settings(max_examples=15, deadline=None)
@given(payload=SAYABLE)
def test_protoc_takes_every_contract(payload: tuple[Field, ...]) -> None:
    of = contract(payload=payload)
    agrees(message_of(of), of.fields)


def numbers_of(found: Descriptor, path: str = "") -> dict[str, int]:
    """The number of every field, by its path."""
    numbers = {}
    for one in found.fields:
        numbers[path + one.name] = one.number
        if one.message_type is not None and not one.message_type.full_name.startswith("google."):
            numbers |= numbers_of(one.message_type, f"{path}{one.name}.")
    return numbers


def reserved_in(found: Descriptor) -> set[int]:
    proto = descriptor_pb2.DescriptorProto()
    found.CopyToProto(proto)
    return {number for one in proto.reserved_range for number in range(one.start, one.end)}


@settings(max_examples=15, deadline=None)
@given(payload=st.lists(SAYABLE, min_size=2, max_size=4))
def test_a_number_once_given_means_one_field_for_ever(payload: list[tuple[Field, ...]]) -> None:
    versions = [contract(version=f"1.{minor}.0", payload=one) for minor, one in enumerate(payload)]
    given_to: dict[tuple[str, int], str] = {}
    for place, of in enumerate(versions):
        found = message_of(of, *versions[:place])
        assert proto_schema(of, versions) == proto_schema(of, versions[: place + 1])
        for path, number in numbers_of(found).items():
            parent = path.rpartition(".")[0]
            assert given_to.setdefault((parent, number), path) == path
        top = {number for (parent, number) in given_to if not parent}
        assert top == {one.number for one in found.fields} | reserved_in(found)


def test_a_contract_that_declares_it(tmp_path: Path) -> None:
    """That it is refused where Protobuf cannot carry it, complaints.txt says."""
    folder = write_tree(tmp_path)
    rating = "  - {property: rating, vendor: somebody, value: [1, 2]}"
    change(tmp_path, ORDER_FILE, rating, "  - {property: wire, vendor: analytics_platform, value: protobuf}")
    with pytest.raises(ContractError):
        load_catalog(folder)
    change(tmp_path, ORDER_FILE, "        logicalTypeOptions: {minItems: 1}\n", "")
    change(
        tmp_path,
        ORDER_FILE,
        "          logicalType: object\n",
        "          logicalType: object\n          required: true\n",
    )
    (event,) = load_catalog(folder).domains["shop"].events
    assert event.wire is WireFormat.PROTOBUF
    message_of(event)
