"""Section "Schema Resolution" of the Apache Avro 1.12.0 specification, rule by rule, for two versions of a contract.

Of each rule that two contracts can meet: what the specification says of it, that Avro's reader does so by the schemas
made of the contracts, and what the gate says. Where the gate calls a version backward compatible, Avro reads what was
written by the older one; where Avro reads and the gate refuses, the table says why.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import fastavro
import pytest

from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.evolve import compare
from analytics_platform.contract.model import Field, LogicalType, Rules
from analytics_platform_tests.contract.example import ORDER, contract, field, order
from analytics_platform_tests.contract.test_avro import crossed, row
from analytics_platform_tests.contract.test_evolve import TODAY
from analytics_platform_tests.contract.test_json_schema import SMALL

ERROR = object()
"""What the specification calls an error."""
NOT_READ = (fastavro.read.SchemaResolutionError, ValueError)


@dataclass(frozen=True)
class Case:
    """An event written by one version and read by another."""

    writer: tuple[Field, ...]
    reader: tuple[Field, ...]
    event: dict[str, Any]
    read: dict[str, Any] | object
    """What the reader sees of it, or ERROR."""
    backward: bool
    """What the gate says: whether the reader understands every event of the writer."""
    why: str = ""
    """Where Avro reads this event and the gate refuses the version."""


def a(kind: str = "string", required: bool = True, **rest: Any) -> tuple[Field, ...]:
    return (field("a", kind, required, **rest),)


def ship(*fields: Field, required: bool = True) -> tuple[Field, ...]:
    return a("object", required, fields=fields)


def lines(*fields: Field) -> tuple[Field, ...]:
    return a("array", item=field("item", "object", fields=fields))


def texts(kind: str, required: bool = True) -> tuple[Field, ...]:
    return a("array", item=field("item", kind, required))


X, Y, Y_OPTIONAL = field("x"), field("y"), field("y", required=False)
COLUMN = "a column keeps its type: Delta cannot turn what stands there into another"
OTHER_EVENTS = "events of the writer may hold what the reader has no place for"

RULES: dict[str, Case] = {
    # Both are arrays whose item types match.
    "arrays whose item types match": Case(texts("string"), texts("string"), {"a": ["x"]}, {"a": ["x"]}, True),
    "arrays whose item types do not match": Case(texts("string"), texts("integer"), {"a": ["x"]}, ERROR, False),
    "an array and no array": Case(texts("string"), a(), {"a": ["x"]}, ERROR, False),
    "no array and an array": Case(a(), texts("string"), {"a": "x"}, ERROR, False),
    # Both are records of one name, which two versions always give them (see below).
    "records": Case(ship(X), ship(X), {"a": {"x": "1"}}, {"a": {"x": "1"}}, True),
    "a record and no record": Case(ship(X), a(), {"a": {"x": "1"}}, ERROR, False),
    "no record and a record": Case(a(), ship(X), {"a": "1"}, ERROR, False),
    # Both are records, resolved field by field.
    "the ordering of fields may be different": Case((X, Y), (Y, X), {"x": "1", "y": "2"}, {"x": "1", "y": "2"}, True),
    "fields with the same name are resolved recursively": Case(
        ship(X, Y), ship(Y, X), {"a": {"x": "1", "y": "2"}}, {"a": {"x": "1", "y": "2"}}, True
    ),
    "fields with the same name that do not match": Case(
        ship(X), ship(field("x", "boolean")), {"a": {"x": "1"}}, ERROR, False
    ),
    "a field that the reader's record has not is ignored": Case((X, Y), (X,), {"x": "1", "y": "2"}, {"x": "1"}, True),
    "a field that the reader's inner record has not is ignored": Case(
        ship(X, Y), ship(X), {"a": {"x": "1", "y": "2"}}, {"a": {"x": "1"}}, True
    ),
    "a field with a default that the writer's record has not": Case(
        (X,), (X, Y_OPTIONAL), {"x": "1"}, {"x": "1", "y": None}, True
    ),
    "a field with a default that the writer's inner record has not": Case(
        ship(X), ship(X, Y_OPTIONAL), {"a": {"x": "1"}}, {"a": {"x": "1", "y": None}}, True
    ),
    "a field without a default that the writer's record has not": Case((X,), (X, Y), {"x": "1"}, ERROR, False),
    "a field without a default that the writer's inner record has not": Case(
        ship(X), ship(X, Y), {"a": {"x": "1"}}, ERROR, False
    ),
    # Both are enums: a contract's enum is a rule, its Avro schema a string; the gate holds the rule.
    "an enum that has the writer's symbols": Case(
        a(rules=Rules(enum=("p",))), a(rules=Rules(enum=("p", "q"))), {"a": "p"}, {"a": "p"}, True
    ),
    "an enum without one of the writer's symbols": Case(
        a(rules=Rules(enum=("p", "q"))),
        a(rules=Rules(enum=("p",))),
        {"a": "q"},
        {"a": "q"},
        False,
        "a rule, not a type",
    ),
    # Both are arrays, resolved item by item.
    "array items are resolved recursively": Case(
        lines(X, Y), lines(Y_OPTIONAL, X), {"a": [{"x": "1", "y": "2"}]}, {"a": [{"x": "1", "y": "2"}]}, True
    ),
    "array items, with a field that the writer's have not": Case(
        lines(X), lines(X, Y_OPTIONAL), {"a": [{"x": "1"}]}, {"a": [{"x": "1", "y": None}]}, True
    ),
    "array items, with a field without a default": Case(lines(X), lines(X, Y), {"a": [{"x": "1"}]}, ERROR, False),
    # Both are unions: the first of the reader's that matches the one the writer chose.
    "both are unions, and a value": Case(a(required=False), a(required=False), {"a": "x"}, {"a": "x"}, True),
    "both are unions, and null": Case(a(required=False), a(required=False), {"a": None}, {"a": None}, True),
    "both are unions, none of the reader's matches": Case(
        a(required=False), a("integer", required=False), {"a": "x"}, ERROR, False
    ),
    "both are unions, and null matches": Case(
        a(required=False), a("integer", required=False), {"a": None}, {"a": None}, False, OTHER_EVENTS
    ),
    "both are unions, of records": Case(
        ship(X, required=False),
        ship(X, Y_OPTIONAL, required=False),
        {"a": {"x": "1"}},
        {"a": {"x": "1", "y": None}},
        True,
    ),
    # Only the reader's is a union.
    "the reader's is a union and the writer's is not": Case(a(), a(required=False), {"a": "x"}, {"a": "x"}, True),
    "the reader's is a union in which nothing matches": Case(
        a(), a("boolean", required=False), {"a": "x"}, ERROR, False
    ),
    "the reader's items are a union": Case(texts("string"), texts("string", False), {"a": ["x"]}, {"a": ["x"]}, True),
    # Only the writer's is a union.
    "the writer's is a union, and the value matches": Case(
        a(required=False), a(), {"a": "x"}, {"a": "x"}, False, OTHER_EVENTS
    ),
    "the writer's is a union, and null does not match": Case(a(required=False), a(), {"a": None}, ERROR, False),
    "the writer's items are a union": Case(texts("string", False), texts("string"), {"a": [None]}, ERROR, False),
    # Aliases: contracts have none, so a field of another name is another field.
    "another name, of a field that must be there": Case((X,), (Y,), {"x": "1"}, ERROR, False),
    "another name, of a field that may be missing": Case((X,), (Y_OPTIONAL,), {"x": "1"}, {"y": None}, True),
}


def read_by(case: Case) -> Any:
    writer, reader = contract(payload=case.writer), contract(payload=case.reader)
    event = row(writer.fields, order(writer, idempotency_key="k", **case.event))
    found = crossed(event, writer, reader)
    return {one.name: found[one.name] for one in case.reader}


def backward(writer: tuple[Field, ...], reader: tuple[Field, ...]) -> bool:
    return all(change.backward for change in compare(contract(payload=writer), contract(payload=reader), TODAY))


@pytest.mark.parametrize("case", RULES.values(), ids=RULES)
def test_a_rule_of_the_specification(case: Case) -> None:
    assert backward(case.writer, case.reader) is case.backward
    if case.read is ERROR:
        assert not case.backward
        with pytest.raises(NOT_READ):
            read_by(case)
    else:
        assert read_by(case) == case.read
        assert case.backward or case.why


# --- the writer's type may be promoted to the reader's --------------------------------------------------------------

PROMOTED = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
SCALARS = {
    LogicalType.STRING: ("string", "x"),
    LogicalType.INTEGER: ("long", 7),
    LogicalType.NUMBER: ("double", 0.5),
    LogicalType.BOOLEAN: ("boolean", True),
    LogicalType.TIMESTAMP: ("long", "2013-01-01T00:00:00Z"),
    LogicalType.DATE: ("int", "2013-01-01"),
}


@pytest.mark.parametrize(("writer", "reader"), list(product(SCALARS, SCALARS)))
def test_two_primitive_types(writer: LogicalType, reader: LogicalType) -> None:
    """Matched where they are the same or the one is promoted; the gate takes the same logical type alone."""
    written, value = SCALARS[writer]
    wanted, _ = SCALARS[reader]
    case = Case(a(writer.value), a(reader.value), {"a": value}, ERROR, writer is reader, COLUMN)
    assert backward(case.writer, case.reader) is case.backward
    if written == wanted or wanted in PROMOTED.get(written, ()):
        read_by(case)
    else:
        assert not case.backward
        with pytest.raises(NOT_READ):
            read_by(case)


# --- what two contracts cannot meet -----------------------------------------------------------------------------------

NOT_SAID = {
    "map": "the standard's `map` is refused: its keys would be columns that no contract names",
    "enum": "an enum is a rule about a string, so that a new value needs no new schema; so there are no names of enums",
    "fixed": "no type of a contract has a fixed number of bytes",
    "bytes": "no type of a contract is bytes, so nothing is promoted from or to them",
    "float": "a number is a double, so nothing is promoted from or to a float",
}


def kinds(schema: Any) -> set[str]:
    """Every type that stands in a schema."""
    if isinstance(schema, list):
        return set().union(*map(kinds, schema))
    if isinstance(schema, str):
        return {schema}
    below = [schema.get("items", []), [one["type"] for one in schema.get("fields", [])]]
    own = schema["type"]
    return (kinds(own) if not isinstance(own, str) else {own}).union(*map(kinds, below))


@pytest.mark.parametrize("kind", NOT_SAID)
def test_types_that_no_contract_has(kind: str) -> None:
    assert {one.type for one in (*ORDER.fields, *SMALL.fields)} == set(LogicalType)
    assert kind not in kinds(avro_schema(ORDER)) | kinds(avro_schema(SMALL)), NOT_SAID[kind]


def test_records_at_one_place_have_one_name() -> None:
    """So the rule about their names is met by two versions whatever else they change, and aliases are not needed."""
    before, after = (
        avro_schema(contract(payload=ship(X))),
        avro_schema(contract(payload=ship(Y_OPTIONAL, required=False))),
    )
    assert before["name"] == after["name"]
    inner = before["fields"][-1]["type"], after["fields"][-1]["type"][1]
    assert [(one["type"], one["name"]) for one in inner] == [("record", "order_placed_A")] * 2
    assert "aliases" not in str(before) + str(after)
