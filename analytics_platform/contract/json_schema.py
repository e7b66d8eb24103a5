"""A contract as a JSON Schema, for producers, consumers and registries.

Open, it lets unknown fields be, as the platform does; closed, it refuses them, which finds a producer's slips.
What it refuses when it is open, the platform does not keep. What it takes may still be quarantined: a schema knows no
rules over a row, no derived key, no key that stands twice (docs/schemas.md has the whole list).

https://json-schema.org/draft/2020-12
"""

import re
from typing import Any

from analytics_platform.contract.model import EventContract, Field, LogicalType, Rules
from analytics_platform.contract.wire import value_fields

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_DAY = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?"
_OFFSET = "([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])"
TIMESTAMP = f"^{_DAY}[Tt ]{_TIME}{_OFFSET}$"
"""RFC 3339 with an offset, as the gate takes it: `format` alone checks nothing."""
DATE = f"^{_DAY}$"
INTEGERS = (-(2**63), 2**63 - 1)
"""What a column of integers holds."""

_TYPES = {LogicalType.TIMESTAMP: "string", LogicalType.DATE: "string"}
RULES = {
    "min_length": "minLength",
    "max_length": "maxLength",
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusive_minimum": "exclusiveMinimum",
    "exclusive_maximum": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_items": "minItems",
    "max_items": "maxItems",
}
VERSION = r"\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"
"""What follows the major in the pattern of `schema_version`."""
IN_RUST = "Matches, in the regular expressions of Rust: "
"""Begins the comment that stands for a pattern which only Rust reads."""

OF_RUST_ALONE = re.compile(r"\(\?[^:]|\\[AzpPxuUb<>]|\[\^?\]|\[[^\]]*\[|&&|--|~~")
"""What other dialects than Rust's read otherwise or not at all: flags, named groups, classes inside classes."""


def json_schema(contract: EventContract, *, closed: bool = False) -> dict[str, Any]:
    """The schema of one event's value, JSON-ready and in the contract's order.

    Fields that come from headers are not part of it, nor is a key that the platform derives.

    Args:
        contract: What the value must be.
        closed: Whether fields that the contract does not name are refused, also inside objects.
    """
    properties, required = {}, []
    for place, found in value_fields(contract).items():
        needed = any(field.required for field in found)
        parts = [_of_event(contract, field, closed=closed, required=needed) for field in found]
        properties[place] = parts[0] if len(parts) == 1 else {"allOf": parts}
        if needed:
            required.append(place)
    schema = {"$schema": DIALECT, "title": contract.label} | _words(contract.header.description)
    return schema | _object(properties, required, closed=closed)


def _object(properties: dict[str, Any], required: list[str], *, closed: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        found["required"] = required
    return found | {"additionalProperties": not closed}


def _of_event(contract: EventContract, field: Field, *, closed: bool, required: bool) -> dict[str, Any]:
    """A field, and what makes an event one of this contract."""
    found = _field(field, closed=closed, required=required)
    if field.name == "event_type":
        found.pop("enum", None)
        found["const"] = contract.sent_as
    elif field.name == "schema_version":
        major = {"pattern": f"^{contract.major}{VERSION}"}
        found |= {"allOf": [major]} if "pattern" in found else major
    return found


def _field(field: Field, *, closed: bool, required: bool) -> dict[str, Any]:
    name = _TYPES.get(field.type, str(field.type))
    found = _words(field.description) | {"type": name if required else [name, "null"]}
    if field.deprecated:
        found["deprecated"] = True
    found |= _rules(field.rules, nullable=not required)
    if field.type is LogicalType.TIMESTAMP:
        found |= {"format": "date-time", "pattern": TIMESTAMP}
    elif field.type is LogicalType.DATE:
        found |= {"format": "date", "pattern": DATE}
    elif field.type is LogicalType.INTEGER:
        found |= _column_bounds(field.rules)
    elif field.type is LogicalType.OBJECT:
        inner = {one.name: _field(one, closed=closed, required=one.required) for one in field.fields}
        needed = [one.name for one in field.fields if one.required]
        # Its type is known: null may stand beside it.
        found |= {key: part for key, part in _object(inner, needed, closed=closed).items() if key != "type"}
    elif field.item is not None:
        found["items"] = _field(field.item, closed=closed, required=field.item.required)
    return found


def _rules(rules: Rules, *, nullable: bool) -> dict[str, Any]:
    bounds = {keyword: getattr(rules, name) for name, keyword in RULES.items()}
    found: dict[str, Any] = {keyword: _plain(bound) for keyword, bound in bounds.items() if bound is not None}
    if rules.pattern is not None:
        if OF_RUST_ALONE.search(rules.pattern):
            found["$comment"] = f"{IN_RUST}{rules.pattern}"
        else:
            found["pattern"] = f"^(?:{rules.pattern})$"
    if rules.enum is not None:
        found["enum"] = [*rules.enum, *([None] if nullable else [])]
    return found


def _column_bounds(rules: Rules) -> dict[str, Any]:
    found = {}
    if rules.minimum is None and rules.exclusive_minimum is None:
        found["minimum"] = INTEGERS[0]
    if rules.maximum is None and rules.exclusive_maximum is None:
        found["maximum"] = INTEGERS[1]
    return found


def _plain(bound: float) -> int | float:
    return int(bound) if float(bound).is_integer() else bound


def _words(text: str) -> dict[str, Any]:
    return {"description": text} if text else {}
