"""An Avro schema, as a sketch of a contract.

Enums become strings with an enum, `int` and `long` integers, unions of null and one other type optional fields.

Apache Avro 1.12.0 specification, "Schema Declaration" and "Logical Types".
"""

from collections.abc import Mapping
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from analytics_platform.contract.avro_value import avro_reader
from analytics_platform.contract.batch_text import Unreadable
from analytics_platform.contract.draw.sketch import Notes, Sketch, not_too_deep, schema_of, shortly, within
from analytics_platform.contract.model import Field, LogicalType, Rules
from analytics_platform.errors import NotImportable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat

_SCALARS = {
    "int": LogicalType.INTEGER,
    "long": LogicalType.INTEGER,
    "float": LogicalType.NUMBER,
    "double": LogicalType.NUMBER,
    "boolean": LogicalType.BOOLEAN,
    "string": LogicalType.STRING,
}
_LOGICAL = {
    ("long", "timestamp-millis"): LogicalType.TIMESTAMP,
    ("long", "timestamp-micros"): LogicalType.TIMESTAMP,
    ("int", "date"): LogicalType.DATE,
}
_NO_ZONE = "it is a time without a zone, and a timestamp is an instant"
_NO_TIME_OF_DAY = "contracts have no type for a time of day"
_NO_DECIMAL = "it is a decimal, and a number of a contract is a double, which would lose digits"
_REFUSED = {
    **{("long", f"local-timestamp-{unit}"): _NO_ZONE for unit in ("millis", "micros", "nanos")},
    ("int", "time-millis"): _NO_TIME_OF_DAY,
    ("long", "time-micros"): _NO_TIME_OF_DAY,
    ("bytes", "decimal"): _NO_DECIMAL,
    ("fixed", "decimal"): _NO_DECIMAL,
}


class _Refused(Exception):
    """A type that no field can have; says why."""


def avro_sketch(schema: RegisteredSchema, source: str) -> Sketch:
    """What an Avro record says of an event.

    Raises:
        NotImportable: it is no Avro schema, or none of a record.
    """
    named: dict[str, Any] = {}
    try:
        for _, text in schema.references:
            fastavro.parse_schema(schema_of(text), named_schemas=named)
        parsed = fastavro.parse_schema(schema_of(schema.text), named_schemas=named)
    except (SchemaParseException, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotImportable(source, f"it is no Avro schema that can be read ({_fault(error)})") from error
    reader = _Reader(named, Notes(source))
    root = reader.definition(parsed)
    if root.get("type") not in {"record", "error"}:
        raise NotImportable(source, "it is no record, and an event has fields")
    if isinstance(values := avro_reader(schema), Unreadable):
        why = f"{values}, and what is written by such a one is quarantined: docs/schemas.md#wire-formats"
        reader.notes.leave("every value in Avro's frame", why)
    with not_too_deep(source):
        fields = reader.fields(root, "", (root["name"],))
    return Sketch(
        source=source,
        fields=fields,
        left_out=tuple(reader.notes.left_out),
        name=root["name"].rsplit(".", 1)[-1],
        description=_text(root.get("doc")),
        wire=WireFormat.AVRO,
    )


def _fault(error: Exception) -> str:
    if isinstance(error, UnknownType):
        return f"no type is called {shortly(error)}"
    if isinstance(error, SchemaParseException | ValueError):
        return shortly(error)
    if isinstance(error, RecursionError):
        return "it nests too deep"
    return "a name, a type or a list is missing, or something else stands in its place"


class _Reader:
    def __init__(self, named: Mapping[str, Any], notes: Notes) -> None:
        self._named = named
        self.notes = notes

    def definition(self, schema: Any) -> dict[str, Any]:
        """A type with its name replaced by what it stands for."""
        if isinstance(schema, str):
            schema = self._named.get(schema, {"type": schema})
        if isinstance(schema, dict) and isinstance(schema.get("type"), dict):
            return self.definition(schema["type"])
        return schema if isinstance(schema, dict) else {}

    def fields(self, record: Mapping[str, Any], path: str, inside: tuple[str, ...]) -> tuple[Field, ...]:
        """`inside`: full names of the records around these fields."""
        found = []
        for one in record["fields"]:
            if not isinstance(one["name"], str):
                raise NotImportable(self.notes.source, f"a field of {path or 'the record'} has a name that is no text")
            here = within(path, one["name"])
            field = self._field(one["name"], one["type"], here, inside, _text(one.get("doc")))
            if field is None:
                continue
            if one.get("default") is not None:
                self.notes.leave(f"the default of {here}", "contracts have no defaults")
            found.append(field)
        return tuple(found)

    def _field(self, name: str, schema: Any, path: str, inside: tuple[str, ...], doc: str) -> Field | None:
        self.notes.count()
        branches = schema if isinstance(schema, list) else [schema]
        others = [one for one in branches if self.definition(one).get("type") != "null"]
        if len(others) != 1:
            why = "it is a union of several types, and a field has one" if others else "it is always null"
            self.notes.leave(path, why)
            return None
        try:
            return self._of_one(name, others[0], path, inside, doc, required=len(others) == len(branches))
        except _Refused as refused:
            self.notes.leave(path, str(refused))
            return None

    def _of_one(
        self, name: str, schema: Any, path: str, inside: tuple[str, ...], doc: str, *, required: bool
    ) -> Field | None:
        found = self.definition(schema)
        kind, logical = found.get("type"), found.get("logicalType")
        if kind in {"record", "error"}:
            if found["name"] in inside:
                raise _Refused(f"it contains itself ({found['name']})")
            fields = self.fields(found, path, (*inside, found["name"]))
            return Field(name, LogicalType.OBJECT, required, doc or _text(found.get("doc")), fields=fields)
        if kind == "array":
            item = self._field("item", found["items"], f"{path}[]", inside, "")
            return None if item is None else Field(name, LogicalType.ARRAY, required, doc, item=item)
        if kind == "enum":
            if found.get("default") is not None:
                self.notes.leave(f"the default of the enum {path}", "contracts have no defaults")
            words = doc or _text(found.get("doc"))
            symbols = tuple(found["symbols"]) if isinstance(found["symbols"], list) else ()
            if not symbols:
                self.notes.leave(f"the enum of {path}", "it has no symbols")
            return Field(name, LogicalType.STRING, required, words, Rules(enum=symbols or None))
        return Field(name, self._scalar(str(kind), logical, path), required, doc)

    def _scalar(self, kind: str, logical: Any, path: str) -> LogicalType:
        if why := _REFUSED.get((kind, str(logical))):
            raise _Refused(why)
        if found := _LOGICAL.get((kind, str(logical))):
            return found
        if kind == "map":
            raise _Refused("it is a map, and a column's fields have names")
        if kind not in _SCALARS:
            raise _Refused("contracts have no type for bytes")
        if (kind, logical) == ("long", "timestamp-nanos"):
            self.notes.leave(f"that {path} is a time", "nanoseconds since 1970 are read as the whole number they are")
        elif logical is not None:
            self.notes.leave(f"the logical type {logical} of {path}", f"contracts know {kind}s as such")
        return _SCALARS[kind]


def _text(words: Any) -> str:
    return words.strip() if isinstance(words, str) else ""
