"""The fields of a contract: names, types and rules.

What the standard offers but the platform does not hold up (`unique`, library checks, a `format`) is refused rather than
ignored: a contract promises nothing that is not checked.
"""

import json
from collections.abc import Mapping, Sequence

import polars as pl

from analytics_platform.contract.complaint import one_of, shown
from analytics_platform.contract.lifecycle import check_deprecated, deprecation_of
from analytics_platform.contract.model import NAME, Field, LogicalType, Rules
from analytics_platform.contract.source import Node
from analytics_platform.contract.treatment import classification_of, treatment_of
from analytics_platform.contract.vendor import VENDOR, ours

LARGEST = 2**53
"""Beyond it a float no longer tells whole numbers apart."""
_DEEPEST = 8

_LENGTH = {"minLength": "min_length", "maxLength": "max_length"}
_RANGE = {
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "exclusive_minimum",
    "exclusiveMaximum": "exclusive_maximum",
}
_OPTIONS: Mapping[LogicalType, Mapping[str, str]] = {
    LogicalType.STRING: {"pattern": "pattern", **_LENGTH},
    LogicalType.INTEGER: {**_RANGE, "multipleOf": "multiple_of"},
    LogicalType.NUMBER: _RANGE,
    LogicalType.BOOLEAN: {},
    LogicalType.TIMESTAMP: {"timezone": "timezone"},
    LogicalType.DATE: {},
    LogicalType.OBJECT: {},
    LogicalType.ARRAY: {"minItems": "min_items", "maxItems": "max_items"},
}
_PAIRS = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minimum", "maximum"),
    ("minimum", "exclusiveMaximum"),
    ("exclusiveMinimum", "maximum"),
    ("exclusiveMinimum", "exclusiveMaximum"),
)
_UNKEPT = ("unique", "partitioned", "encryptedName")


def fields_of(properties: Node) -> tuple[Field, ...]:
    """Compile a list of properties, in its order; what is wrong with it becomes complaints of its file."""
    seen: set[str] = set()
    fields = []
    for node in properties:
        name = node["name"]
        if not name.text and name.value != "":
            continue  # the standard's complaint
        if not NAME.fullmatch(name.text):
            name.refuse("is a name of a-z, 0-9 and _ that begins with a letter, of at most 63 characters")
        if name.text in seen:
            name.refuse("is each name once", f"{shown(name.value)} a second time")
        seen.add(name.text)
        fields.append(_field(node, name.text))
    _check_successors(properties, fields)
    return tuple(fields)


def _check_successors(properties: Node, fields: Sequence[Field]) -> None:
    """What replaces a deprecated field stands beside it."""
    names = [field.name for field in fields]
    for node in properties:
        successor = ours(node, "deprecation")["replacedBy"]
        if not successor.text:
            continue
        own = node["name"].text
        others = [name for name in names if name != own]
        if successor.text not in others:
            successor.refuse(one_of(others, successor.value, "the fields beside it"))


def refuse_quality(node: Node) -> None:
    """Complain about quality rules that read as if they were checked; texts and other engines' rules may stand."""
    for rule in node["quality"]:
        kind = rule["type"].text or "library"
        if kind in {"library", "sql"} or rule["engine"].value == VENDOR:
            found = f"a rule of type {kind}" if kind != "custom" else f"a rule of the engine {VENDOR}"
            rule.refuse(
                f"are logicalTypeOptions, enum and, in schema[0].quality, row rules of the engine {VENDOR}", found
            )


def _field(node: Node, name: str) -> Field:
    kind = _type(node)
    if len(node.path) > 2 * _DEEPEST:
        node.refuse(f"are at most {_DEEPEST - 1} levels of objects", "deeper nesting")
        return Field(name, kind, required=False, description="")
    for key in _UNKEPT:
        if node[key].value:
            node[key].refuse("is nothing: the platform would not keep this promise")
    refuse_quality(node)
    unit = ours(node, "unit")
    if unit.value is not None and not unit.text:
        unit.refuse("is text, as in min or mi")
    deprecation = deprecation_of(node)
    check_deprecated(node, deprecation, "deprecated", value=True)
    return Field(
        name=name,
        type=kind,
        required=node["required"].value is True,
        description=node["description"].text.strip(),
        rules=_rules(node, kind),
        fields=_inner(node, kind),
        item=_item(node, kind),
        unit=unit.text or None,
        classification=classification_of(node),
        deprecated=node["deprecated"].value is True,
        deprecation=deprecation,
        examples=tuple(example.text or json.dumps(example.value, ensure_ascii=False) for example in node["examples"]),
        treatment=treatment_of(node, kind),
    )


def _type(node: Node) -> LogicalType:
    found = node["logicalType"]
    if found.text not in set(LogicalType):
        found.refuse(one_of(LogicalType, found.value))
        return LogicalType.STRING  # stands in until the author has mended it
    return LogicalType(found.text)


def _inner(node: Node, kind: LogicalType) -> tuple[Field, ...]:
    if kind is not LogicalType.OBJECT:
        if "properties" in node and node["logicalType"].value == kind:
            node["properties"].refuse("is nothing: only an object has fields")
        return ()
    fields = fields_of(node["properties"])
    if not fields:
        node["properties"].refuse("is at least one field of the object")
    return fields


def _item(node: Node, kind: LogicalType) -> Field | None:
    items = node["items"]
    if kind is not LogicalType.ARRAY:
        if "items" in node and node["logicalType"].value == kind:
            items.refuse("is nothing: only an array has items")
        return None
    if not isinstance(items.value, dict):
        items.refuse("is a field: what the array holds")
        return None
    return _field(items, "item")


def _rules(node: Node, kind: LogicalType) -> Rules:
    options, known = node["logicalTypeOptions"], _OPTIONS[kind]
    if node["logicalType"].value != kind:
        return Rules()
    for key in options.keys:
        if key not in known:
            options[key].refuse(one_of(known, key), f"an option that {kind} does not have here")
    _check_bounds(options)
    if kind is LogicalType.TIMESTAMP and options["timezone"].value not in (None, True):
        options["timezone"].refuse("is true: a timestamp is an instant, written with its offset from UTC")
    if kind is LogicalType.INTEGER and isinstance(options["multipleOf"].value, float):
        options["multipleOf"].refuse("is a whole number")
    _check_pattern(options["pattern"])
    values = {name: options[key].value for key, name in known.items() if key != "timezone"}
    return Rules(**values, enum=_enum(node, kind))


def _check_bounds(options: Node) -> None:
    for low, high in _PAIRS:
        bounds = options[low].value, options[high].value
        if all(_is_number(bound) for bound in bounds):
            exclusive = "exclusive" in low + high
            if bounds[0] > bounds[1] or (bounds[0] == bounds[1] and exclusive):
                options[high].refuse(f"is {'more than' if exclusive else 'at least'} {low}, which is {bounds[0]}")
    for key in (*_RANGE, "multipleOf"):
        if _is_number(options[key].value) and not abs(options[key].value) <= LARGEST:
            options[key].refuse(f"are numbers between {-LARGEST} and {LARGEST}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_pattern(pattern: Node) -> None:
    if pattern.text and (fault := pattern_fault(pattern.text)) is not None:
        pattern.refuse(f"is a regular expression of the Rust kind, without look-around ({fault})")


def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a regular expression, by itself and where it has to match a whole value; None if nothing."""
    for expression in (pattern, f"^(?:{pattern})$"):
        try:
            pl.Series([""]).str.contains(expression)
        except pl.exceptions.ComputeError as error:
            return str(error).split("\n\nThis error occurred")[0].rsplit("error:", 1)[-1].strip()
    return None


def _enum(node: Node, kind: LogicalType) -> tuple[str, ...] | None:
    enum = node["enum"]
    if "enum" not in node:
        return None
    if kind is not LogicalType.STRING:
        enum.refuse("is nothing: only a string has an enum")
        return None
    values = [item["value"] for item in enum]
    for value in values:
        if not isinstance(value.value, str):
            value.refuse("is text, as the field is a string: put it in quotes")
    return tuple(value.text for value in values)
