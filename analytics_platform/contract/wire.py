"""Where a contract's fields stand in a record, and the types that take exactly what it says they hold."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec

from analytics_platform.contract.model import EventContract, Field, KeyMode, LogicalType

HEADER = "header:"
"""Begins the place of a field that comes from a header of the record, not from its value."""

SCALARS: Mapping[LogicalType, Any] = {
    LogicalType.STRING: str,
    LogicalType.INTEGER: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    LogicalType.NUMBER: float,
    LogicalType.BOOLEAN: bool,
    LogicalType.TIMESTAMP: Annotated[datetime, msgspec.Meta(tz=True)],
    LogicalType.DATE: date,
}
"""What msgspec reads for each type that has nothing inside."""


def place_of(contract: EventContract, name: str) -> str:
    """Where a field comes from: a name in the value, or `header:<name>`."""
    return contract.envelope.get(name, name)


def header_names(contracts: Sequence[EventContract]) -> set[str]:
    """The headers that contracts take fields from."""
    return {name for contract in contracts for name, _ in header_fields(contract)}


def wire_fields(contract: EventContract) -> list[tuple[str, Field]]:
    """The fields that stand in the value: the name there, and the field. Without a key that is derived anyway."""
    places = [(place_of(contract, field.name), field) for field in _sent(contract)]
    return [(place, field) for place, field in places if not place.startswith(HEADER)]


def header_fields(contract: EventContract) -> list[tuple[str, Field]]:
    """The fields that stand in headers: the header's name, and the field. Without a key that is derived anyway."""
    places = [(place_of(contract, field.name), field) for field in _sent(contract)]
    return [(place.removeprefix(HEADER), field) for place, field in places if place.startswith(HEADER)]


def _sent(contract: EventContract) -> list[Field]:
    derived = contract.identity.mode is KeyMode.DERIVE
    return [field for field in contract.fields if not (derived and field.name == "idempotency_key")]


def struct_type(
    name: str, fields: Sequence[tuple[str, Field]], fixed: Mapping[str, str] | None = None, **options: Any
) -> type:
    """A struct type that takes exactly the objects the fields describe, and lets unknown fields be."""
    fixed = fixed or {}
    members: dict[str, tuple[str, Any, Any]] = {}
    # Two fields may come from one name, as occurred_at and a time of the payload; the stricter one decides.
    for number, (wire, field) in enumerate(sorted(fields, key=lambda item: item[1].required)):
        kind = Literal[fixed[wire]] if wire in fixed else _type(field)
        if field.required or wire in fixed:
            members[wire] = (f"f{number}", kind, msgspec.field(name=wire))
        else:
            members[wire] = (f"f{number}", kind | None, msgspec.field(name=wire, default=None))
    return msgspec.defstruct(name, list(members.values()), gc=False, kw_only=True, **options)


def _type(field: Field) -> Any:
    if field.type is LogicalType.OBJECT:
        return struct_type(field.name, [(inner.name, inner) for inner in field.fields])
    if field.type is LogicalType.ARRAY and field.item is not None:
        item = _type(field.item)
        return list[item] if field.item.required else list[item | None]  # type: ignore[valid-type]
    return SCALARS[field.type]
