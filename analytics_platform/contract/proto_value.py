"""Protobuf's binary values as JSON that says the same; how, says `batch_text.py`.

Fields have the names they have in the .proto file. One without presence has its default, one with presence that is
absent is null. Enums become the name of their value, bytes base64, 64-bit integers numbers; of the well-known types
Timestamp becomes RFC 3339, wrappers their value or null, and what else has a JSON form of its own that.

https://protobuf.dev/programming-guides/encoding/ and https://protobuf.dev/programming-guides/json/
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import ptars
from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from analytics_platform.contract.arrow_text import finite, instant
from analytics_platform.contract.batch_text import Batches, Unreadable, texts_of
from analytics_platform.contract.protoc import descriptors
from analytics_platform.kafka.frame import RegisteredSchema

_MAX_NESTING = 32
"""Messages declared inside each other: more indexes are no frame."""
_TIMESTAMP = "google.protobuf.Timestamp"
_WRAPPERS = {
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
}
_OWN_JSON = {f"google.protobuf.{name}" for name in ("Duration", "FieldMask", "Struct", "Value", "ListValue")}
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799
_encode = msgspec.json.Encoder().encode


class ProtoReader:
    """Reads the values of one message of a writer's schema."""

    def __init__(self, schema: RegisteredSchema, indexes: tuple[int, ...]) -> None:
        """`indexes`: which message of the schema's file, and which inside that, and so on.

        Raises:
            Unreadable: there is no such message, or the schema is none; says why, without values.
        """
        descriptor = _message(schema, indexes)
        self._parse: Callable[[bytes], Message] = message_factory.GetMessageClass(descriptor).FromString
        self._batches = None
        if _in_batches(descriptor, ()):
            config = ptars.PtarsConfig(timestamp_unit="us", enum_repr="string")
            handler = ptars.HandlerPool([descriptor.file], config=config).get_for_message(descriptor)
            self._batches = Batches(
                lambda values: handler.list_to_record_batch(list(values)), handler.record_batch_to_array
            )

    def texts(self, values: Sequence[bytes]) -> tuple[list[bytes | None], dict[int, str]]:
        """Each value as JSON, null where it cannot be read, and by place what is wrong with those."""
        return texts_of(values, self._batches, self._one, _sentence)

    def _one(self, value: bytes) -> bytes:
        return _encode(finite(_dict(self._parse(value))))


def indexes_in(value: bytes, start: int) -> tuple[tuple[int, ...], int] | None:
    """The message indexes at a place of a value, and where they end; None where there are none.

    A count and so many indexes, as zigzag varints; a count of zero stands for the file's first message.
    """
    count, place = _varint(value, start)
    if count is None or not 0 <= count <= _MAX_NESTING:
        return None
    indexes: list[int] = []
    for _ in range(count):
        index, place = _varint(value, place)
        if index is None or index < 0:
            return None
        indexes.append(index)
    return tuple(indexes) or (0,), place


def _varint(value: bytes, place: int) -> tuple[int | None, int]:
    found = 0
    for step in range(5):
        if place >= len(value):
            return None, place
        byte = value[place]
        place += 1
        found |= (byte & 0x7F) << (7 * step)
        if byte < 0x80:
            return (found >> 1) ^ -(found & 1), place
    return None, place


def _message(schema: RegisteredSchema, indexes: tuple[int, ...]) -> Descriptor:
    try:
        found = descriptors(schema)
    except ValueError as error:
        raise Unreadable("its schema is no Protobuf file that can be read") from error
    proto = descriptor_pb2.FileDescriptorProto()
    found.file.CopyToProto(proto)
    declared, names = proto.message_type, [proto.package] if proto.package else []
    for index in indexes:
        if index >= len(declared):
            raise Unreadable("its schema has no message of its indexes")
        names.append(declared[index].name)
        declared = declared[index].nested_type
    return found.pool.FindMessageTypeByName(".".join(names))


def _in_batches(descriptor: Descriptor, within: tuple[str, ...]) -> bool:
    """Whether the batch reader knows all of it, and Arrow can hold it as plain columns."""
    if descriptor.full_name in within or not descriptor.fields:
        return False
    for field in descriptor.fields:
        if field.type in {FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_GROUP}:
            return False
        inner = field.message_type
        if inner is None or inner.full_name == _TIMESTAMP:
            continue
        if inner.full_name.startswith("google.protobuf.") or inner.GetOptions().map_entry:
            return False
        if not _in_batches(inner, (*within, descriptor.full_name)):
            return False
    return True


def _dict(message: Message) -> dict[str, Any]:
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def _field(message: Message, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        item = field.message_type.fields_by_name["value"]
        return {_key(key): _value(value[key], item) for key in value}
    if field.is_repeated:
        return [_value(item, field) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _value(value, field)


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _value(value: Any, field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    if field.message_type is None:
        return value
    name = field.message_type.full_name
    if name == _TIMESTAMP:
        return _time(value)
    if name in _WRAPPERS:
        return value.value
    return json_format.MessageToDict(value) if name in _OWN_JSON else _dict(value)


def _time(value: Any) -> datetime | str:
    if not (_FIRST_S <= value.seconds <= _LAST_S and 0 <= value.nanos < 1_000_000_000):
        raise OverflowError
    return instant(value.seconds, value.nanos)


def _sentence(error: Exception) -> str:
    return "a time is out of range" if isinstance(error, OverflowError) else "the value does not fit its schema"


@lru_cache(maxsize=256)
def proto_reader(schema: RegisteredSchema, indexes: tuple[int, ...]) -> ProtoReader | Unreadable:
    """The reader of a message, made once; or why there is none."""
    try:
        return ProtoReader(schema, indexes)
    except Unreadable as why:
        return why
    except RecursionError:
        return Unreadable("its schema nests too deep")
