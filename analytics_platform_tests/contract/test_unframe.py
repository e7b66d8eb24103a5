import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import fastavro
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.decode import Decoded, decode
from analytics_platform.contract.model import EventContract
from analytics_platform.contract.unframe import readable, schema_keys
from analytics_platform.kafka.frame import HEADER, NO_SCHEMAS, RegisteredSchema, WireFormat, framed
from analytics_platform_tests.contract.example import ORDER, one_connection, order, records, text

AVRO = replace(ORDER, wire=WireFormat.AVRO)
FRAMED_JSON = replace(ORDER, wire=WireFormat.JSON_SCHEMA)
PROTOBUF = replace(ORDER, wire=WireFormat.PROTOBUF)
ORDER_AVRO = RegisteredSchema(WireFormat.AVRO, json.dumps(avro_schema(ORDER)))
NARROW = RegisteredSchema(
    WireFormat.PROTOBUF,
    """
    syntax = "proto3";
    message Nothing {}
    message Order {
      optional string idempotency_key = 1;
      optional string event_type = 2;
      optional string schema_version = 3;
      optional string trace_id = 4;
      optional string occurred_at = 5;
      optional string order_id = 6;
      optional string currency = 7;
      optional int64 total_cents = 8;
    }
    """,
)
EVENT = order(
    weight=0.1,
    gift=True,
    due="2013-02-28",
    ship={"city": "Zürich", "sent_at": "2013-01-01T12:00:00.123456Z"},
    items=[{"sku": "a", "quantity": 2, "seen": ["2013-01-01T00:00:00Z"]}],
    tags=["x", None],
)


def as_avro(event: Mapping[str, Any]) -> bytes:
    def at(value: str | None) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value).astimezone(UTC)

    made = dict(event) | {"occurred_at": at(event["occurred_at"])}
    if "due" in made:
        made["due"] = date.fromisoformat(made["due"])
    if "ship" in made:
        made["ship"] = made["ship"] | {"sent_at": at(made["ship"].get("sent_at"))}
    if "items" in made:
        made["items"] = [one | {"seen": [at(seen) for seen in one.get("seen", ())]} for one in made["items"]]
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(avro_schema(ORDER)), made)
    return stream.getvalue()


def decoded(
    of: EventContract, values: list[bytes | None], schemas: Any = NO_SCHEMAS, headers: Any = None
) -> tuple[Decoded, pl.DataFrame]:
    given = records(values, headers=headers)
    return decode(given, [of], schemas, connection=one_connection()), given


def reasons(found: Decoded) -> list[tuple[int, list[str], list[str]]]:
    return found.rejected.select("offset", "codes", "reasons").rows()


@pytest.mark.parametrize("wire", list(WireFormat))
def test_an_event_means_one_thing_in_every_format(wire: WireFormat) -> None:
    plain, _ = decoded(ORDER, [text(order())])
    of = replace(ORDER, wire=wire)
    value = {
        WireFormat.JSON: text(order()),
        WireFormat.JSON_SCHEMA: framed(1, text(order())),
        WireFormat.AVRO: framed(1, as_avro(order())),
        WireFormat.PROTOBUF: framed(1, b"\x02\x02" + as_protobuf(order())),
    }[wire]
    found, _ = decoded(of, [value], {"id:1": ORDER_AVRO if wire is WireFormat.AVRO else NARROW})
    assert reasons(found) == []
    assert_frame_equal(found.rows["order_placed"], plain.rows["order_placed"])


def as_protobuf(event: Mapping[str, Any]) -> bytes:
    made = b""
    for number, value in enumerate(event.values(), start=1):
        if isinstance(value, int):
            made += bytes([number << 3, value])
        else:
            made += bytes([number << 3 | 2, len(value)]) + value.encode()
    return made


def test_everything_that_a_contract_can_hold_comes_through_avro() -> None:
    plain, _ = decoded(ORDER, [text(EVENT)])
    found, _ = decoded(AVRO, [framed(7, as_avro(EVENT))], {"id:7": ORDER_AVRO})
    assert reasons(found) == []
    assert_frame_equal(found.rows["order_placed"], plain.rows["order_placed"])


def test_digits_after_the_microsecond_are_cut_in_every_format() -> None:
    said = "2013-01-01T10:17:00.123456999Z"
    plain, _ = decoded(ORDER, [text(order(occurred_at=said))])
    schema = avro_schema(ORDER)
    (field,) = [one for one in schema["fields"] if one["name"] == "occurred_at"]
    field["type"] = {"type": "long", "logicalType": "timestamp-nanos"}
    stream = io.BytesIO()
    at = 1_357_035_420_123_456_999
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), order() | {"occurred_at": at})
    found, _ = decoded(
        AVRO, [framed(7, stream.getvalue())], {"id:7": RegisteredSchema(WireFormat.AVRO, json.dumps(schema))}
    )
    assert reasons(found) == []
    assert found.rows["order_placed"]["occurred_at"].item() == datetime(2013, 1, 1, 10, 17, 0, 123456, UTC)
    assert_frame_equal(found.rows["order_placed"], plain.rows["order_placed"])


def test_the_schema_named_in_a_header() -> None:
    guid = UUID(int=5)
    values: list[bytes | None] = [as_avro(order()), as_avro(order(order_id="O-002"))]
    headers = [{HEADER: b"\x01" + guid.bytes}, {HEADER: b"\x00\x00\x00\x00\x07"}]
    keys = schema_keys(records(values, headers=headers), [AVRO])
    assert keys == {f"guid:{guid}", "id:7"}
    found, _ = decoded(AVRO, values, dict.fromkeys(keys, ORDER_AVRO), headers)
    assert found.rows["order_placed"]["order_id"].to_list() == ["O-001", "O-002"]


def test_each_kind_of_bad_value_beside_good_ones() -> None:
    good = as_avro(order())
    values = [
        framed(1, good),
        text(order()),
        framed(2, good),
        framed(3, b"\x00"),
        framed(4, good),
        framed(1, good[:-9]),
        None,
        b"",
        framed(1, as_avro(order(total_cents=-1))),
        framed(1, good),
    ]
    schemas = {
        "id:1": ORDER_AVRO,
        "id:2": None,
        "id:3": NARROW,
        "id:4": RegisteredSchema(WireFormat.AVRO, '"string"'),
    }
    found, _ = decoded(AVRO, values, schemas)
    assert [row["_offset"] for row in found.rows["order_placed"].rows(named=True)] == [0, 8, 9]
    assert reasons(found) == [
        (1, ["unsupported_content"], ["no frame of a schema registry; this topic takes avro"]),
        (2, ["unknown_schema"], ["the registry has no schema of the id 2"]),
        (3, ["unsupported_content"], ["the value is protobuf; this topic takes avro"]),
        (4, ["unsupported_content"], ["its Avro schema is not a record"]),
        (5, ["malformed_value"], ["the value ends too early"]),
        (6, ["missing_value"], ["the value is null"]),
        (7, ["unsupported_content"], ["no frame of a schema registry; this topic takes avro"]),
    ]


def test_a_value_of_protobuf_without_its_indexes() -> None:
    found, _ = decoded(PROTOBUF, [framed(1, b"\x7f"), framed(1, b"\x04\x02\x02")], {"id:1": NARROW})
    assert reasons(found) == [
        (0, ["malformed_value"], ["no message indexes after the frame"]),
        (1, ["unsupported_content"], ["its schema has no message of its indexes"]),
    ]


def test_a_value_that_was_cut_is_oversized_whatever_its_frame() -> None:
    given = records([framed(9, as_avro(order()))]).with_columns(value_bytes=pl.lit(10**6, pl.Int64))
    assert schema_keys(given, [AVRO]) == set()
    found = decode(given, [AVRO], NO_SCHEMAS, connection=one_connection())
    assert [codes for _, codes, _ in reasons(found)] == [["oversized"]]


def test_framed_json_needs_no_schema() -> None:
    given = records([framed(9, text(order()))])
    assert schema_keys(given, [FRAMED_JSON]) == set()
    assert decode(given, [FRAMED_JSON], NO_SCHEMAS, connection=one_connection()).rows["order_placed"].height == 1


def test_a_topic_that_changes_its_format_with_a_version() -> None:
    """Both are declared, each by a version, and both are taken."""
    newer = replace(AVRO, header=replace(AVRO.header, version="1.1.0", digest="x"))
    values: list[bytes | None] = [text(order()), framed(1, as_avro(order(newer, order_id="O-002")))]
    found = decode(records(values), [ORDER, newer], {"id:1": ORDER_AVRO}, connection=one_connection())
    assert reasons(found) == []
    assert found.rows["order_placed"]["_contract"].to_list() == [ORDER.label, newer.label]


def test_values_made_readable_for_those_who_look() -> None:
    good = framed(1, as_avro(order()))
    given = records([b"x", good, framed(1, b"\x00"), None])
    shown = readable(given, [AVRO], {"id:1": ORDER_AVRO})
    assert shown.columns == given.columns
    assert shown["offset"].to_list() == [0, 1, 2, 3]
    first, second, third, fourth = shown["value"]
    assert (first, third, fourth) == (b"x", framed(1, b"\x00"), None)
    assert json.loads(second)["order_id"] == "O-001"
