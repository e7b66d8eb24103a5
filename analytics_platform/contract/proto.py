"""A contract as a .proto file, for producers, registries and code generators.

It says what shape a record's value has; rules about values stay with the contract. Every field that may be absent says
whether it is there, and enums are strings, so that a new value needs no new schema.

A field's number is its place among all fields that its object has had within one major version, the oldest version's
first; so it never changes, and numbers of fields that went are reserved. This takes the files of all those versions.

https://protobuf.dev/reference/protobuf/proto3-spec/
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from analytics_platform.contract.model import EventContract, Field, LogicalType
from analytics_platform.contract.wire import value_fields
from analytics_platform.errors import NotInProtobuf

_TIMESTAMP = "google.protobuf.Timestamp"
_SCALARS = {
    LogicalType.STRING: "string",
    LogicalType.INTEGER: "int64",
    LogicalType.NUMBER: "double",
    LogicalType.BOOLEAN: "bool",
    LogicalType.TIMESTAMP: _TIMESTAMP,
    LogicalType.DATE: "string",
}
_DATE = "A day, as in 2013-01-31."


def proto_schema(contract: EventContract, versions: Sequence[EventContract]) -> str:
    """The text of a file with one message, named for the event, in a package named for its domain.

    Fields that come from headers are not part of it, nor is a key that the platform derives.

    Args:
        contract: What the value must be.
        versions: All of the event's; those after it and those of other majors make no difference.

    Raises:
        NotInProtobuf: Protobuf cannot carry one of its fields.
    """
    for path, why in unsayable(contract):
        raise NotInProtobuf(contract.label, path, why)
    before = sorted(
        (one for one in versions if one.major == contract.major and one.order < contract.order),
        key=lambda one: one.order,
    )
    name = _message_name(contract.name)
    history = [_fields(one) for one in (*before, contract)]
    body = _message(name, contract.header.description, history, ())
    head = ['syntax = "proto3";', "", f"package {contract.header.domain};", ""]
    if any(f" {_TIMESTAMP} " in line for line in body if not line.lstrip().startswith("//")):
        head += ['import "google/protobuf/timestamp.proto";', ""]
    return "\n".join([*head, *body, ""])


def unsayable(contract: EventContract) -> Iterator[tuple[str, str]]:
    """The fields that Protobuf cannot carry: their path as in `lines[].tags`, and why."""
    yield from _unsayable(_fields(contract), "")


def _unsayable(fields: Sequence[Field], path: str) -> Iterator[tuple[str, str]]:
    names: dict[str, str] = {}
    for field in fields:
        here = path + field.name
        first = names.setdefault(_json_name(field.name), field.name)
        if first != field.name:
            yield here, f"it would have the JSON name of {first}"
        if field.item is not None:
            if not field.required and field.rules.min_items:
                yield here, "it may be null but not empty, and Protobuf cannot tell the two apart"
            if not field.item.required:
                yield here, "its items may be null"
            if field.item.type is LogicalType.ARRAY:
                yield here, "its items are arrays"
        inside = here if field.item is None else f"{here}[]"
        yield from _unsayable(_element(field).fields, f"{inside}.")


def _json_name(name: str) -> str:
    """What protoc makes of a name; it takes no two fields of which it makes the same."""
    return re.sub("_+(.?)", lambda found: found[1].upper(), name)


def _fields(contract: EventContract) -> list[Field]:
    """What stands in the value, under its names there."""
    return [
        replace(found[0], name=place, description=next((one.description for one in found if one.description), ""))
        for place, found in value_fields(contract).items()
    ]


def _message(name: str, words: str, history: Sequence[Sequence[Field]], within: tuple[str, ...]) -> list[str]:
    """The lines of a message; `history` has its fields in each version, the last those that it has now."""
    seen = dict.fromkeys(field.name for fields in history for field in fields)
    numbers = {one: number for number, one in enumerate(seen, start=1)}
    now = {field.name for field in history[-1]}
    gone = [one for one in numbers if one not in now]
    lines = [*_comment(words), f"message {name} {{"]
    if gone:
        lines.append(f"  reserved {', '.join(str(numbers[one]) for one in gone)};")
        lines.append("  reserved " + ", ".join(f'"{one}"' for one in gone) + ";")
    for field in history[-1]:
        kind, inner = _kind(field, history, (*within, name))
        lines += [f"  {line}" for line in inner]
        label = "optional" if field.item is None else "repeated"
        lines += [f"  {line}" for line in _field_comment(field)]
        lines.append(f"  {label} {kind} {field.name} = {numbers[field.name]};")
    return [*lines, "}"]


def _kind(field: Field, history: Sequence[Sequence[Field]], within: tuple[str, ...]) -> tuple[str, list[str]]:
    """The type of a field, or of what its array holds, and the lines of the message that it needs."""
    one = _element(field)
    if one.type is not LogicalType.OBJECT:
        return _SCALARS[one.type], []
    past = [_element(item).fields for fields in history for item in fields if item.name == field.name]
    name = _message_name(field.name)
    if name in within:
        name += "_Inner"  # Java has no class inside one of the same name
    return name, _message(name, "", past, within)


def _element(field: Field) -> Field:
    return field if field.item is None else field.item


def _field_comment(field: Field) -> list[str]:
    day = [_DATE] if _element(field).type is LogicalType.DATE else []
    return [*_comment(field.description), *(f"// {line}" for line in day)]


def _comment(words: str) -> list[str]:
    return [f"// {line}".rstrip() for line in words.splitlines()]


def _message_name(name: str) -> str:
    """`order_placed` as `OrderPlaced`; no two names give the same, since a `_` before no letter stays."""
    return re.sub("_([a-z])", lambda found: found[1].upper(), f"_{name}")
