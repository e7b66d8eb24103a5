"""Payloads of every type and rule, and events that mostly fit them, for properties."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from analytics_platform.contract.model import Field, LogicalType
from analytics_platform_tests.contract.example import field
from analytics_platform_tests.contract.test_evolve import NUMBERS, TEXTS, rules

KINDS = {"s": "string", "i": "integer", "n": "number", "b": "boolean", "t": "timestamp", "d": "date"}
TIMES = [
    "2013-01-01T10:17:00Z",
    "2013-12-31t23:59:59.1234567z",
    "2013-01-01 00:00:00+0130",
    "2013-01-01T10:17:00-11:59",
]
NO_TIMES = [
    "2013-01-01T10:17:00",
    "2013-01-01",
    "2013-13-01T10:17:00Z",
    "2013-01-01T24:00:00Z",
    "2013-01-01T10:17Z",
    "",
]
DAYS = ["2013-01-31", "2024-02-29"]
NO_DAYS = ["2013-1-1", "2013-00-10", "20130101", "2013-01-01T10:17:00Z", ""]


@st.composite
def fields(draw: st.DrawFn, name: str) -> Field:
    """A field whose name says its type: those of KINDS, an object `o`, and arrays `l` of texts and `m` of objects."""
    required = draw(st.booleans())
    if name == "o":
        return field(name, "object", required, fields=draw(_some("sint")))
    if name in {"l", "m"}:
        inner = {"rules": draw(rules(LogicalType.STRING))} if name == "l" else {"fields": draw(_some("dbq"))}
        item = field("item", "string" if name == "l" else "object", draw(st.booleans()), **inner)
        return field(name, "array", required, item=item, rules=draw(rules(LogicalType.ARRAY)))
    if name == "q":
        return field(name, "array", required, item=draw(fields("t")))
    kind = LogicalType(KINDS[name])
    ruled = kind in {LogicalType.STRING, LogicalType.INTEGER, LogicalType.NUMBER}
    return field(name, kind, required, **({"rules": draw(rules(kind))} if ruled else {}))


def _some(names: str) -> st.SearchStrategy[tuple[Field, ...]]:
    return st.lists(st.sampled_from(names), min_size=1, unique=True).flatmap(lambda ks: st.tuples(*map(fields, ks)))


def payloads() -> st.SearchStrategy[tuple[Field, ...]]:
    """An `order_id`, and some of the others."""
    return _some("sinbtdolm").map(lambda found: (field("order_id"), *found))


def in_protobuf(of: Field) -> Field:
    """The field without what Protobuf cannot carry."""
    rules = of.rules if of.required else replace(of.rules, min_items=None)
    item = None if of.item is None else replace(in_protobuf(of.item), required=True)
    return replace(of, rules=rules, item=item, fields=tuple(in_protobuf(one) for one in of.fields))


def events(of: tuple[Field, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly what the fields ask for; now and then another type, null, nothing, or a field they do not name."""
    values = {one.name: _value(one) for one in of if one.name != "order_id"}
    needed = {name: value for name, value in values.items() if any(one.required and one.name == name for one in of)}
    others = {name: value for name, value in values.items() if name not in needed} | {"unknown": st.just([1])}
    return st.one_of(*[st.fixed_dictionaries(needed, optional=others)] * 3, st.fixed_dictionaries({}, optional=values))


def _value(of: Field) -> st.SearchStrategy[Any]:
    right = _right(of)
    if not of.required:
        right |= st.none()
    wrong = st.sampled_from([None, 1, 1.5, True, "x", "", [], {}, ["a"], {"s": "a"}, *NO_TIMES, *NO_DAYS])
    return st.one_of(*[right] * 9, wrong)


def _right(of: Field) -> st.SearchStrategy[Any]:
    if of.type is LogicalType.OBJECT:
        return events(of.fields)
    if of.item is not None:
        return st.lists(_value(of.item), max_size=3)
    if of.rules.enum:
        return st.sampled_from(of.rules.enum)
    scalars: dict[LogicalType, st.SearchStrategy[Any]] = {
        LogicalType.STRING: TEXTS,
        LogicalType.INTEGER: NUMBERS,
        LogicalType.NUMBER: NUMBERS.map(lambda number: number / 2) | NUMBERS,
        LogicalType.BOOLEAN: st.booleans(),
        LogicalType.TIMESTAMP: st.sampled_from(TIMES),
        LogicalType.DATE: st.sampled_from(DAYS),
    }
    return scalars[of.type]
