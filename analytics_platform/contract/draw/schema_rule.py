"""The rules of a JSON Schema about one value, as rules of a contract."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from analytics_platform.contract.draw.sketch import Notes
from analytics_platform.contract.field import pattern_fault
from analytics_platform.contract.json_schema import DATE, IN_RUST, INTEGERS, OF_RUST_ALONE, RULES, TIMESTAMP
from analytics_platform.contract.model import LogicalType, Rules

_OF_KIND: Mapping[LogicalType, tuple[str, ...]] = {
    LogicalType.STRING: ("min_length", "max_length"),
    LogicalType.INTEGER: ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum", "multiple_of"),
    LogicalType.NUMBER: ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum", "multiple_of"),
    LogicalType.ARRAY: ("min_items", "max_items"),
}
_OF_TYPE = {LogicalType.TIMESTAMP: TIMESTAMP, LogicalType.DATE: DATE}
"""Patterns that say what such text is anyway."""
_ANY = r"[\s\S]*"


def rules_of(
    schemas: Sequence[Mapping[str, Any]], kind: LogicalType, known: Sequence[str], notes: Notes, path: str
) -> Rules:
    """What all of these schemas say of a value; what a contract cannot say is noted.

    Args:
        schemas: Without references and choices.
        kind: The field's type.
        known: Patterns that are no rule of the field.
        notes: Where to note it.
        path: Of the field.
    """
    bounds = {name: _bound(schemas, name, kind) for name in _OF_KIND.get(kind, ())}
    rules = Rules(**{name: bound for name, bound in bounds.items() if bound is not None})  # type: ignore[arg-type]
    if kind not in {LogicalType.STRING, *_OF_TYPE}:
        if any({"enum", "const"} & schema.keys() for schema in schemas):
            notes.leave(f"the enum of {path}", "only strings have one")
        return rules
    if kind in _OF_TYPE:
        return _of_time(schemas, _OF_TYPE[kind], notes, path)
    return replace(rules, pattern=_pattern(schemas, known, notes, path), enum=_enum(schemas, notes, path))


def _of_time(schemas: Sequence[Mapping[str, Any]], own: str, notes: Notes, path: str) -> Rules:
    for schema in schemas:
        for keyword in ("minLength", "maxLength", "pattern", "enum", "const"):
            if keyword in schema and schema[keyword] != own:
                notes.leave(f"{keyword} of {path}", "times and days have no such rules")
    return Rules()


def _bound(schemas: Sequence[Mapping[str, Any]], name: str, kind: LogicalType) -> float | int | None:
    """The strictest of a kind of bound. In draft 4, `exclusiveMinimum` is true beside `minimum`."""
    keyword = RULES[name]
    found = []
    for schema in schemas:
        bound = schema.get(keyword)
        end = keyword.removeprefix("exclusive").lower()
        if keyword.startswith("exclusive") and isinstance(bound, bool):
            bound = schema.get(end) if bound else None
        elif keyword == end and schema.get(f"exclusive{keyword.capitalize()}") is True:
            bound = None
        if bound is None or (kind is LogicalType.INTEGER and keyword == end and bound in INTEGERS):
            continue
        if isinstance(bound, int) or math.isfinite(bound):
            found.append(int(bound) if bound == int(bound) else bound)
    if not found:
        return None
    if name == "multiple_of":
        return math.lcm(*found) if all(isinstance(one, int) for one in found) else max(found)
    return max(found) if "min" in name else min(found)


def _pattern(schemas: Sequence[Mapping[str, Any]], known: Sequence[str], notes: Notes, path: str) -> str | None:
    patterns = []
    for schema in schemas:
        comment = schema.get("$comment")
        if isinstance(comment, str) and comment.startswith(IN_RUST):
            patterns.append(comment.removeprefix(IN_RUST))
        if (pattern := schema.get("pattern")) is None or pattern in known:
            continue
        # Flags, named groups and nested classes: whoever wrote them for JSON Schema did not mean Rust's.
        fault = pattern_fault(pattern)
        if OF_RUST_ALONE.search(pattern):
            notes.leave(f"the pattern of {path}", "it means something else, or nothing, in Rust's regular expressions")
        elif fault is not None:
            # Before anything is put around it, which could mend what is broken into something that nobody meant.
            notes.leave(f"the pattern of {path}", f"regular expressions of Rust cannot say it ({fault})")
        elif (whole := _of_whole(pattern)) not in patterns:
            patterns.append(whole)
    for _ in patterns[1:]:
        notes.leave(f"another pattern of {path}", "a field has one")
    return patterns[0] if patterns else None


def _of_whole(pattern: str) -> str:
    """The pattern of the whole value: a contract's has to match all of it, JSON Schema's some part."""
    if pattern.startswith("^(?:") and pattern.endswith(")$") and pattern_fault(pattern[4:-2]) is None:
        return pattern[4:-2]
    body = pattern.removeprefix("^")
    escapes = len(body) - len(body.removesuffix("$").rstrip("\\")) - 1
    ends = body.endswith("$") and escapes % 2 == 0
    body = body[:-1] if ends else body
    if "|" in pattern:
        return f"{_ANY}(?:{pattern}){_ANY}"
    return f"{'' if pattern.startswith('^') else _ANY}{body}{'' if ends else _ANY}"


def _enum(schemas: Sequence[Mapping[str, Any]], notes: Notes, path: str) -> tuple[str, ...] | None:
    found: list[str] | None = None
    for schema in schemas:
        lists = [schema["enum"]] if "enum" in schema else []
        lists += [[schema["const"]]] if "const" in schema else []
        for values in lists:
            texts = [value for value in values if isinstance(value, str)]
            if len(texts) < len([value for value in values if value is not None]) or not texts:
                notes.leave(f"the enum of {path}", "its values are not all text")
                continue
            found = texts if found is None else [value for value in found if value in texts]
    if found is not None and not found:
        notes.leave(f"the enums of {path}", "no value is in all of them")
        return None
    return None if found is None else tuple(dict.fromkeys(found))
