"""A message of a .proto file, as a sketch of a contract.

A field without presence is always there, with its default if nothing else: it is required. Enums become strings with
an enum, as their values are read (`proto_value.py`).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from analytics_platform.contract.draw.personal import words_of
from analytics_platform.contract.draw.sketch import Notes, Sketch, not_too_deep, within
from analytics_platform.contract.model import Field, LogicalType, Rules
from analytics_platform.contract.protoc import ProtoInvalid, descriptors
from analytics_platform.errors import NotImportable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat

_GOOGLE = "google.protobuf."
_WRAPPED = {
    **dict.fromkeys(("StringValue",), LogicalType.STRING),
    **dict.fromkeys(("Int32Value", "Int64Value", "UInt32Value", "UInt64Value"), LogicalType.INTEGER),
    **dict.fromkeys(("DoubleValue", "FloatValue"), LogicalType.NUMBER),
    **dict.fromkeys(("BoolValue",), LogicalType.BOOLEAN),
    **dict.fromkeys(("Timestamp",), LogicalType.TIMESTAMP),
}
_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: LogicalType.INTEGER,
    FieldDescriptor.CPPTYPE_INT64: LogicalType.INTEGER,
    FieldDescriptor.CPPTYPE_UINT32: LogicalType.INTEGER,
    FieldDescriptor.CPPTYPE_UINT64: LogicalType.INTEGER,
    FieldDescriptor.CPPTYPE_DOUBLE: LogicalType.NUMBER,
    FieldDescriptor.CPPTYPE_FLOAT: LogicalType.NUMBER,
    FieldDescriptor.CPPTYPE_BOOL: LogicalType.BOOLEAN,
    FieldDescriptor.CPPTYPE_STRING: LogicalType.STRING,
}
_IMPORT = re.compile(r"""\bimport\s+(?:\w+\s+)?["']([^"']+)["']\s*;""")
"""Also in a comment: a file more does no harm."""


def proto_file(path: Path) -> RegisteredSchema:
    """A .proto file with the files that it imports, as a registry would have it.

    Imports are looked for in the file's own folder and, as they are named from a root that nobody tells, in those
    around it.

    Raises:
        OSError: a file cannot be read.
        UnicodeDecodeError: a file is not UTF-8.
    """
    texts: dict[str, str] = {}
    text = path.read_text(encoding="utf-8")
    waiting = _IMPORT.findall(text)
    while waiting:
        name = waiting.pop()
        if name in texts or ".." in Path(name).parts or Path(name).is_absolute():
            continue
        there = next((folder / name for folder in path.absolute().parents if (folder / name).is_file()), None)
        if there is None:
            continue  # Google's own come with protoc; of any other it says itself that it is missing
        texts[name] = there.read_text(encoding="utf-8")
        waiting += _IMPORT.findall(texts[name])
    return RegisteredSchema(WireFormat.PROTOBUF, text, tuple(texts.items()))


def proto_sketch(schema: RegisteredSchema, source: str, event: str | None) -> Sketch:
    """What a message says of an event.

    Args:
        schema: The file.
        source: As it is named to people.
        event: Chooses the message of that name, in snake case; without one the file's first is taken.

    Raises:
        NotImportable: protoc refuses the file, or there is no message in it.
    """
    try:
        file = descriptors(schema).file
    except ProtoInvalid as error:
        raise NotImportable(source, f"protoc refuses it ({str(error).rstrip('.')})") from error
    declared = FileDescriptorProto()
    file.CopyToProto(declared)
    messages = [file.message_types_by_name[one.name] for one in declared.message_type]
    if not messages:
        raise NotImportable(source, "there is no message in it")
    chosen = next((one for one in messages if "_".join(words_of(one.name)) == event), messages[0])
    notes = Notes(source)
    notes.leave("every comment", "what protoc makes of a file has none; write descriptions")
    with not_too_deep(source):
        fields = _fields(chosen, "", (chosen.full_name,), notes)
        reached = {one.full_name for one in _reached(chosen, set())}
    for one in messages:
        if one.full_name not in reached:
            notes.leave(f"the message {one.name}", "a contract is about one event; --event chooses another")
    return Sketch(source, fields, tuple(notes.left_out), chosen.name, wire=WireFormat.PROTOBUF)


def _fields(message: Descriptor, path: str, inside: tuple[str, ...], notes: Notes) -> tuple[Field, ...]:
    """`inside`: full names of the messages around these fields, their own last."""
    for one in message.oneofs:
        if len(one.fields) > 1:
            names = ", ".join(field.name for field in one.fields)
            where = within(path, one.name)
            notes.leave(f"that only one of {names} is there ({where})", "that takes a rule over a row, written by hand")
    found = (_field(one, within(path, one.name), inside, notes) for one in message.fields)
    return tuple(one for one in found if one is not None)


def _field(field: FieldDescriptor, path: str, inside: tuple[str, ...], notes: Notes) -> Field | None:
    notes.count()
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        notes.leave(path, "it is a map, and a column's fields have names")
        return None
    found: Field | None
    if field.is_repeated:
        item = _single(field, "item", f"{path}[]", inside, notes, required=True)
        found = (
            None if item is None else Field(field.name, LogicalType.ARRAY, required=False, description="", item=item)
        )
    else:
        required = field.is_required or not field.has_presence
        found = _single(field, field.name, path, inside, notes, required=required)
    if found is not None and field.has_default_value:
        notes.leave(f"the default of {path}", "contracts have no defaults")
    return None if found is None else replace(found, deprecated=field.GetOptions().deprecated)


def _single(
    field: FieldDescriptor, name: str, path: str, inside: tuple[str, ...], notes: Notes, *, required: bool
) -> Field | None:
    message = field.message_type
    if message is None:
        return _scalar(field, name, path, notes, required=required)
    own = message.full_name.removeprefix(_GOOGLE)
    if own in _WRAPPED and own != message.full_name:
        return Field(name, _WRAPPED[own], required, "")
    if own != message.full_name:
        notes.leave(path, f"contracts have no type for {message.full_name}")
    elif message.full_name in inside:
        notes.leave(path, f"it contains itself ({message.full_name})")
    else:
        fields = _fields(message, path, (*inside, message.full_name), notes)
        return Field(name, LogicalType.OBJECT, required, "", fields=fields)
    return None


def _scalar(field: FieldDescriptor, name: str, path: str, notes: Notes, *, required: bool) -> Field | None:
    if field.enum_type is not None:
        symbols = tuple(one.name for one in field.enum_type.values)
        return Field(name, LogicalType.STRING, required, "", Rules(enum=symbols))
    if field.type == FieldDescriptor.TYPE_BYTES:
        notes.leave(path, "contracts have no type for bytes")
        return None
    if field.cpp_type == FieldDescriptor.CPPTYPE_UINT64:
        notes.leave(f"values of {path} from 2^63 on", "a column of integers holds 64 bits with a sign")
    return Field(name, _SCALARS[field.cpp_type], required, "")


def _reached(message: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    """A message and all that are somewhere in it, also as what it stands inside of."""
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    yield message
    for field in message.fields:
        if field.message_type is not None:
            yield from _reached(field.message_type, seen)
    if message.containing_type is not None:
        yield message.containing_type
