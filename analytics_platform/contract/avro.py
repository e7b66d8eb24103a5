"""A contract as an Avro schema, for producers and registries.

It says what shape a record's value has; rules about values stay with the contract. Enums are strings, so that a new
value needs no new schema, and optional fields default to null, so that fields may come and go: what the gate calls
compatible both ways can be read both ways by Avro's schema resolution.

Apache Avro 1.12.0 specification, "Schema Declaration" and "Logical Types".
"""

from typing import Any

from analytics_platform.contract.model import EventContract, Field, LogicalType
from analytics_platform.contract.wire import value_fields

_SCALARS: dict[LogicalType, Any] = {
    LogicalType.STRING: "string",
    LogicalType.INTEGER: "long",
    LogicalType.NUMBER: "double",
    LogicalType.BOOLEAN: "boolean",
    LogicalType.TIMESTAMP: {"type": "long", "logicalType": "timestamp-micros"},
    LogicalType.DATE: {"type": "int", "logicalType": "date"},
}


def avro_schema(contract: EventContract) -> dict[str, Any]:
    """The schema of one event's value, JSON-ready and in the contract's order.

    Fields that come from headers are not part of it, nor is a key that the platform derives.
    """
    fields = []
    for place, found in value_fields(contract).items():
        required = any(field.required for field in found)
        doc = next((field.description for field in found if field.description), "")
        fields.append(_field(place, found[0], contract.name, required=required, doc=doc))
    schema = {"type": "record", "name": contract.name, "namespace": contract.header.domain}
    return schema | _doc(contract.header.description) | {"fields": fields}


def _field(name: str, field: Field, path: str, *, required: bool, doc: str) -> dict[str, Any]:
    kind = _type(field, f"{path}_{name.capitalize()}")
    found = {"name": name} | _doc(doc)
    return found | ({"type": kind} if required else {"type": ["null", kind], "default": None})


def _type(field: Field, path: str) -> Any:
    """The type of a field that is there. `path` names it if it is a record.

    Names of fields have no capitals, so a path of names that begin with one belongs to one field alone, and keeps
    belonging to it when fields come and go.
    """
    if field.type is LogicalType.ARRAY and field.item is not None:
        item = _type(field.item, path)
        return {"type": "array", "items": item if field.item.required else ["null", item]}
    if field.type is LogicalType.OBJECT:
        fields = [_field(one.name, one, path, required=one.required, doc=one.description) for one in field.fields]
        return {"type": "record", "name": path, "fields": fields}
    scalar = _SCALARS[field.type]
    return dict(scalar) if isinstance(scalar, dict) else scalar


def _doc(text: str) -> dict[str, Any]:
    return {"doc": text} if text else {}
