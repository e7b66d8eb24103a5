"""A value in JSON turned into the bytes by which its contract is written: what `unframe` reads, made.

Values go through the types by which the platform reads JSON, so what it would not take is not written, and nothing
becomes something else on the way: integers never pass through a float, times are exact to the microsecond.
"""

import io
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import fastavro
import msgspec
from google.protobuf import message_factory

from analytics_platform.contract.cloudevents import BINARY, reading
from analytics_platform.contract.model import EventContract, Field, LogicalType
from analytics_platform.contract.protoc import descriptors
from analytics_platform.contract.wire import struct_type, wire_fields
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat, framed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {LogicalType.TIMESTAMP: datetime, LogicalType.DATE: date, LogicalType.NUMBER: float}
_FINER = re.compile(r"(\.[0-9]{6})[0-9]+")
"""Digits after the microseconds: where JSON is read they are cut, and msgspec alone would round by them."""
_FIRST_MESSAGE = b"\x00"
"""The index of the only message of a contract's file, as `kafka/frame.py` says."""


class NotEncodable(ValueError):
    """A value does not fit its contract; judged as JSON it shows why."""


class Encoder:
    """Writes the values of one contract by its registered schema."""

    def __init__(self, contract: EventContract, schema: RegisteredSchema, schema_id: int) -> None:
        """`schema`: as of `registered_schema`; `schema_id`: that under which the registry has it."""
        self._id = schema_id
        if contract.cloudevents is not None:
            contract = reading(contract, BINARY)
        self._fields = wire_fields(contract)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct_type(contract.name, self._fields)).decode
        self._write: Callable[[dict[str, Any]], bytes] | None = None
        if schema.kind is WireFormat.AVRO:
            self._write = _avro_writer(schema)
        elif schema.kind is WireFormat.PROTOBUF:
            self._write = _proto_writer(schema)

    def encoded(self, value: bytes) -> bytes:
        """The value in its format and frame.

        Args:
            value: In JSON. What it holds beside the contract's fields is left out, but by JSON Schema.

        Raises:
            NotEncodable: it is not of the contract's types.
        """
        try:
            self._decode(value)
            if self._write is None:
                return framed(self._id, value)
            said = msgspec.json.decode(value)
            return framed(self._id, self._write({name: _typed(said.get(name), one) for name, one in self._fields}))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise NotEncodable(type(error).__name__) from error  # their own words may hold a value


def _typed(value: Any, field: Field) -> Any:
    """What JSON says of a field, in Python's type for it; the value is known to fit."""
    if value is None:
        return None
    if field.type is LogicalType.OBJECT:
        return {one.name: _typed(value.get(one.name), one) for one in field.fields}
    if field.item is not None:
        return [_typed(one, field.item) for one in value]
    if field.type is LogicalType.TIMESTAMP:
        value = _FINER.sub(r"\1", value)
    kind = _KINDS.get(field.type)
    return value if kind is None else msgspec.convert(value, kind)


def _avro_writer(schema: RegisteredSchema) -> Callable[[dict[str, Any]], bytes]:
    parsed = fastavro.parse_schema(json.loads(schema.text))

    def write(value: dict[str, Any]) -> bytes:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, value)
        return stream.getvalue()

    return write


def _proto_writer(schema: RegisteredSchema) -> Callable[[dict[str, Any]], bytes]:
    (descriptor,) = descriptors(schema).file.message_types_by_name.values()
    message = message_factory.GetMessageClass(descriptor)
    return lambda value: _FIRST_MESSAGE + message(**_of_message(value)).SerializeToString(deterministic=True)


def _of_message(value: Mapping[str, Any]) -> dict[str, Any]:
    """What the message's class takes; what is null is left out."""
    return {name: _proto_value(one) for name, one in value.items() if one is not None}


def _proto_value(value: Any) -> Any:
    if isinstance(value, dict):
        return _of_message(value)
    if isinstance(value, list):
        return [_proto_value(one) for one in value]
    if isinstance(value, datetime):
        since = value - _EPOCH
        return {"seconds": since.days * 86400 + since.seconds, "nanos": since.microseconds * 1000}
    return value.isoformat() if isinstance(value, date) else value
