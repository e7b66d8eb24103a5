"""Fields as a source has them, without what a contract cannot say of them."""

import re
from collections.abc import Iterable
from dataclasses import replace

from analytics_platform.contract.draw.sketch import Notes, within
from analytics_platform.contract.field import LARGEST, pattern_fault
from analytics_platform.contract.json_schema import RULES
from analytics_platform.contract.model import NAME, Field, LogicalType, Rules

_TOP, _OBJECT, _ARRAY, _DEEPEST = 4, 2, 1, 16
"""Steps of a path in the file: those of a field at the top, those that nesting adds, and how many the loader takes."""
_PAIRS = (
    ("min_length", "max_length"),
    ("min_items", "max_items"),
    ("minimum", "maximum"),
    ("minimum", "exclusive_maximum"),
    ("exclusive_minimum", "maximum"),
    ("exclusive_minimum", "exclusive_maximum"),
)
_VARIABLE = re.compile(r"\$\{[A-Za-z_]")
_NO_VARIABLE = "${…} would be read as a variable there"


def tidied(fields: Iterable[Field], notes: Notes, path: str = "", depth: int = _TOP) -> tuple[Field, ...]:
    """The fields that can be columns, with the rules that can be kept."""
    found = []
    for field in fields:
        here = within(path, field.name)
        if not NAME.fullmatch(field.name):
            notes.leave(
                here, "a column's name is of a-z, 0-9 and _, begins with a letter and has at most 63 characters"
            )
        elif (kept := tidy(field, notes, here, depth)) is not None:
            found.append(kept)
    return tuple(found)


def tidy(field: Field, notes: Notes, path: str, depth: int = _TOP) -> Field | None:
    """The field with what is inside it tidied, whatever its name; None where nothing of it is left."""
    if depth > _DEEPEST:
        notes.leave(path, "a contract does not nest so deep")
        return None
    if field.type is LogicalType.OBJECT:
        inner = tidied(field.fields, notes, path, depth + _OBJECT)
        if not inner:
            notes.leave(path, "no field inside it is left")
            return None
        field = replace(field, fields=inner)
    elif field.type is LogicalType.ARRAY:
        item = None if field.item is None else tidy(field.item, notes, f"{path}[]", depth + _ARRAY)
        if item is None:
            notes.leave(path, "what it holds is left out")
            return None
        field = replace(field, item=replace(item, name="item"))
    if _VARIABLE.search(field.description):
        notes.leave(f"the description of {path}", _NO_VARIABLE)
        field = replace(field, description="")
    return replace(field, rules=_rules(field, notes, path))


def _rules(field: Field, notes: Notes, path: str) -> Rules:
    rules = field.rules
    for name in RULES:
        bound = getattr(rules, name)
        if bound is not None and not abs(bound) <= LARGEST:
            rules = _without(rules, notes, path, "rules hold numbers between -2^53 and 2^53", name)
    step = rules.multiple_of
    if step is not None and (field.type is not LogicalType.INTEGER or step != int(step)):
        rules = _without(rules, notes, path, "only integers have steps, and whole ones", "multiple_of")
    for low, high in _PAIRS:
        bounds = getattr(rules, low), getattr(rules, high)
        if None in bounds:
            continue
        if bounds[0] > bounds[1] or (bounds[0] == bounds[1] and "exclusive" in low + high):
            rules = _without(rules, notes, path, "no value can satisfy both", low, high)
    if rules.pattern is not None:
        fault = _NO_VARIABLE if _VARIABLE.search(rules.pattern) else pattern_fault(rules.pattern)
        if fault is not None:
            why = fault if fault is _NO_VARIABLE else f"regular expressions of Rust cannot say it ({fault})"
            rules = _without(rules, notes, path, why, "pattern")
    if rules.enum is not None and any(_VARIABLE.search(value) for value in rules.enum):
        rules = _without(rules, notes, path, _NO_VARIABLE, "enum")
    return rules


def _without(rules: Rules, notes: Notes, path: str, why: str, *names: str) -> Rules:
    notes.leave(f"{' and '.join(RULES.get(name, name) for name in names)} of {path}", why)
    return replace(rules, **dict.fromkeys(names))
