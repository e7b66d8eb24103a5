"""How fast each wire format becomes checked rows, beside the readers people use: `python -m benchmarks.wire [records]`.

The events of `benchmarks.decode` in bare JSON, and framed as JSON Schema, Avro and Protobuf. Of each: the transcription
to JSON alone, all of decoding, decoding and checking; beside these fastavro and the deserializers of confluent-kafka, a
record at a time, which make dictionaries or messages and check nothing, but for the one of JSON Schema, which checks
every value against its schema. All in one run, medians of five rounds.
"""

import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import fastavro
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import message_factory

from analytics_platform import duck
from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.avro_value import AvroReader
from analytics_platform.contract.check import check
from analytics_platform.contract.decode import decode
from analytics_platform.contract.proto_value import ProtoReader
from analytics_platform.contract.protoc import descriptors
from analytics_platform.contract.registered import registered_schema
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat, framed
from benchmarks.decode import ORDER, bronze, events

ROUNDS = 5
AVRO = RegisteredSchema(WireFormat.AVRO, json.dumps(avro_schema(ORDER)))
JSON_SCHEMA = registered_schema(replace(ORDER, wire=WireFormat.JSON_SCHEMA), [ORDER])
PROTO = RegisteredSchema(
    WireFormat.PROTOBUF,
    """
    syntax = "proto3";
    package shop;
    import "google/protobuf/timestamp.proto";
    message OrderPlaced {
      optional string idempotency_key = 1;
      optional string event_type = 2;
      optional string schema_version = 3;
      optional string trace_id = 4;
      optional google.protobuf.Timestamp occurred_at = 5;
      optional string source = 6;
      optional string order_id = 7;
      optional string currency = 8;
      optional int64 total_cents = 9;
      optional double weight = 10;
      optional Ship ship = 11;
      repeated Item items = 12;
      message Ship { optional string city = 1; optional string zip = 2; }
      message Item { optional string sku = 1; optional int64 qty = 2; }
    }
    """,
)
FORMATS = {
    WireFormat.JSON: "JSON",
    WireFormat.JSON_SCHEMA: "JSON Schema, framed",
    WireFormat.AVRO: "Avro, framed",
    WireFormat.PROTOBUF: "Protobuf, framed",
}


def as_avro(events: list[bytes]) -> list[bytes]:
    """The same events in Avro, without frames."""
    schema, found = fastavro.parse_schema(json.loads(AVRO.text)), []
    for value in events:
        event = json.loads(value)
        stream = io.BytesIO()
        at = datetime.fromisoformat(event["occurred_at"])
        fastavro.schemaless_writer(stream, schema, event | {"occurred_at": at})
        found.append(stream.getvalue())
    return found


def as_proto(events: list[bytes]) -> list[bytes]:
    """The same events in Protobuf, without frames."""
    message, found = _message(), []
    for value in events:
        event = json.loads(value)
        at = datetime.fromisoformat(event.pop("occurred_at"))
        one = message(**event)
        one.occurred_at.FromDatetime(at)
        found.append(one.SerializeToString())
    return found


def _message() -> Any:
    return message_factory.GetMessageClass(descriptors(PROTO).pool.FindMessageTypeByName("shop.OrderPlaced"))


def median(work: Callable[[], object]) -> float:
    """Seconds."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _each(reader: Callable[[bytes], object], values: list[bytes]) -> None:
    for value in values:
        reader(value)


def _client(schema: RegisteredSchema) -> SchemaRegistryClient:
    """A client of a registry in memory, whose schema 1 this is."""
    client = SchemaRegistryClient.new_client({"url": "mock://"})
    kind = "AVRO" if schema.kind is WireFormat.AVRO else "JSON"
    if client.register_schema("orders-value", Schema(schema.text, kind)) != 1:
        raise AssertionError("the values name the schema 1")
    return client


def others(values: Mapping[WireFormat, list[bytes]], bare: Mapping[WireFormat, list[bytes]]) -> dict[str, float]:
    """Rows per second of readers that take a record at a time."""
    context = SerializationContext("orders", MessageField.VALUE)
    parsed = fastavro.parse_schema(json.loads(AVRO.text))
    message = _message()
    avro, proto = AvroDeserializer(_client(AVRO)), ProtobufDeserializer(message, {"use.deprecated.format": False})
    checked = JSONDeserializer(None, schema_registry_client=_client(JSON_SCHEMA))
    few = 5_000  # the slow ones would take minutes
    readers: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
        "json.loads": (json.loads, bare[WireFormat.JSON]),
        "fastavro.schemaless_reader": (
            lambda value: fastavro.schemaless_reader(io.BytesIO(value), parsed, None),
            bare[WireFormat.AVRO],
        ),
        "Protobuf FromString": (message.FromString, bare[WireFormat.PROTOBUF]),
        "confluent AvroDeserializer": (lambda value: avro(value, context), values[WireFormat.AVRO][:few]),
        "confluent JSONDeserializer, which checks": (
            lambda value: checked(value, context),
            values[WireFormat.JSON_SCHEMA][:few],
        ),
        "confluent ProtobufDeserializer": (lambda value: proto(value, context), values[WireFormat.PROTOBUF][:few]),
    }
    return {name: len(batch) / median(partial(_each, reader, batch)) for name, (reader, batch) in readers.items()}


def main() -> None:
    """Print rows per second of each format."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    plain = events(count)
    bare = {
        WireFormat.JSON: plain,
        WireFormat.JSON_SCHEMA: plain,
        WireFormat.AVRO: as_avro(plain),
        WireFormat.PROTOBUF: as_proto(plain),
    }
    values = {
        WireFormat.JSON: plain,
        WireFormat.JSON_SCHEMA: [framed(1, one) for one in plain],
        WireFormat.AVRO: [framed(1, one) for one in bare[WireFormat.AVRO]],
        WireFormat.PROTOBUF: [framed(1, b"\0" + one) for one in bare[WireFormat.PROTOBUF]],
    }
    schemas = {WireFormat.AVRO: {"id:1": AVRO}, WireFormat.PROTOBUF: {"id:1": PROTO}}
    transcribe = {WireFormat.AVRO: AvroReader(AVRO).texts, WireFormat.PROTOBUF: ProtoReader(PROTO, (0,)).texts}
    cores = len(os.sched_getaffinity(0))
    print(f"{count:,} records, {cores} core(s); rows per second, medians of {ROUNDS} rounds")
    print(f"{'':22}{'bytes':>7}{'to JSON':>12}{'decode':>12}{'and check':>12}")
    with duck.connect(threads=cores) as connection:
        for wire, name in FORMATS.items():
            of, records = replace(ORDER, wire=wire), bronze(values[wire])
            given = schemas.get(wire, {})
            reading = count / median(partial(transcribe[wire], bare[wire])) if wire in transcribe else None
            decoding = median(partial(decode, records, [of], given, connection=connection))
            rows = decode(records, [of], given, connection=connection).rows["order_placed"]
            if rows.height != count:
                raise AssertionError(f"{name}: {rows.height} of {count} came through")
            checking = median(partial(check, rows, of))
            size = sum(map(len, values[wire])) // count
            said = "" if reading is None else f"{reading:,.0f}"
            print(f"{name:22}{size:7}{said:>12}{count / decoding:12,.0f}{count / (decoding + checking):12,.0f}")
    for name, rate in others(values, bare).items():
        print(f"{name:41}{rate:12,.0f}")


if __name__ == "__main__":
    main()
