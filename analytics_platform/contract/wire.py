"""Where a contract's fields stand in a record, and the types that take exactly what it says they hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec

from analytics_platform.contract.cloudevents import BINARY, reading
from analytics_platform.contract.model import EventContract, Field, KeyMode, LogicalType, Rules
from analytics_platform.contract.place import DATA, Form, Place, Spot, place

SCALARS: Mapping[LogicalType, Any] = {
    LogicalType.STRING: str,
    LogicalType.INTEGER: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    LogicalType.NUMBER: float,
    LogicalType.BOOLEAN: bool,
    LogicalType.TIMESTAMP: Annotated[datetime, msgspec.Meta(tz=True)],
    LogicalType.DATE: date,
}
"""What msgspec reads for each type that has nothing inside."""

_NOTHING: Mapping[str, tuple[Any, bool]] = MappingProxyType({})


def place_of(contract: EventContract, name: str) -> Place:
    """Where a field comes from."""
    return place(contract.envelope.get(name) or (f"{DATA}{name}" if contract.payload_in else name))


def header_names(contracts: Sequence[EventContract]) -> set[str]:
    """The headers that contracts take fields from."""
    return {name for contract in contracts for name, _ in header_fields(contract)}


def wire_fields(contract: EventContract) -> list[tuple[str, Field]]:
    """The fields that stand in the value: the name there, and the field. Without a key that is derived anyway.

    A payload with a member of its own is one field: an object of that name.
    """
    spots = [(spot, field) for spot, field in _spots(contract) if not spot.header]
    if contract.payload_in is None:
        return [(spot.name, field) for spot, field in spots]
    # Two fields may come from one name of the payload too, so what is required of it comes last, as in `struct_type`.
    payload = tuple(
        replace(field, name=spot.name) for spot, field in sorted(spots, key=lambda item: item[1].required) if spot.data
    )
    fields = [(spot.name, field) for spot, field in spots if not spot.data]
    if payload:
        required = any(field.required for field in payload)
        whole = Field(contract.payload_in, LogicalType.OBJECT, required, "The payload.", fields=payload)
        fields.append((contract.payload_in, whole))
    return fields


def header_fields(contract: EventContract) -> list[tuple[str, Field]]:
    """The fields that stand in headers: the header's name, and the field. Without a key that is derived anyway."""
    return [(spot.name, field) for spot, field in _spots(contract) if spot.header]


def _spots(contract: EventContract) -> Iterator[tuple[Spot, Field]]:
    for field in _sent(contract):
        spots = place_of(contract, field.name).spots
        optional = len(spots) > 1 or (field.name == "trace_id" and contract.generate_trace_id)
        for spot in spots:
            yield spot, replace(field, required=False) if optional else field


def value_fields(contract: EventContract) -> dict[str, list[Field]]:
    """The fields that stand in the value by their names there, in the contract's order; of a CloudEvent, in its data.

    Two may share a name, as occurred_at and a time of the payload: what is there must then be right for both.
    """
    if contract.cloudevents is not None:
        contract = reading(contract, BINARY)
    places: dict[str, list[Field]] = {}
    for name, field in wire_fields(contract):
        # A rule about a trace id is none about the traceparent that holds it.
        is_plain = place_of(contract, field.name).form is Form.PLAIN
        places.setdefault(name, []).append(field if is_plain else replace(field, rules=Rules()))
    return places


def _sent(contract: EventContract) -> list[Field]:
    derived = contract.identity.mode is KeyMode.DERIVE
    return [field for field in contract.fields if not (derived and field.name == "idempotency_key")]


def struct_type(
    name: str,
    fields: Sequence[tuple[str, Field]],
    fixed: Mapping[str, str] | None = None,
    about: Mapping[str, tuple[Any, bool]] = _NOTHING,
    **options: Any,
) -> type:
    """A struct type that takes exactly the objects the fields describe, and lets unknown fields be.

    Args:
        name: Its name.
        fields: By the names they have there.
        fixed: Fields that hold just this text.
        about: Types of members that are no fields, and whether they must be there.
        options: For msgspec.
    """
    fixed = fixed or {}
    members: dict[str, tuple[str, Any, Any]] = {
        wire: (f"a{number}", kind, msgspec.field(name=wire) if required else msgspec.field(name=wire, default=None))
        for number, (wire, (kind, required)) in enumerate(about.items())
    }
    # Two fields may come from one name, as occurred_at and a time of the payload; the stricter one decides.
    for number, (wire, field) in enumerate(sorted(fields, key=lambda item: item[1].required)):
        kind = Literal[fixed[wire]] if wire in fixed else _type(field)
        if field.required or wire in fixed:
            members[wire] = (f"f{number}", kind, msgspec.field(name=wire))
        else:
            members[wire] = (f"f{number}", kind | None, msgspec.field(name=wire, default=None))
    return msgspec.defstruct(name, list(members.values()), gc=False, kw_only=True, **options)


def member(struct: type, wire: str) -> str:
    """The attribute in which a struct type keeps the field of this name."""
    return next(one.name for one in msgspec.structs.fields(struct) if one.encode_name == wire)


def _type(field: Field) -> Any:
    if field.type is LogicalType.OBJECT:
        return struct_type(field.name, [(inner.name, inner) for inner in field.fields])
    if field.type is LogicalType.ARRAY and field.item is not None:
        item = _type(field.item)
        return list[item] if field.item.required else list[item | None]  # type: ignore[valid-type]
    return SCALARS[field.type]
