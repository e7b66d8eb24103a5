"""An Avro schema with every name written out, and what that says about reading by it.

Refused are schemas by which a few bytes can take a process down: those that contain themselves, whose values may nest
a million deep, and arrays of items that take no bytes, of which a count of some bytes makes a billion.

Apache Avro 1.12.0 specification, "Schema Declaration" and "Logical Types".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException

from analytics_platform.contract.batch_text import Unreadable
from analytics_platform.kafka.frame import RegisteredSchema

_MAX_NODES = 10_000
"""Names written out may multiply: a thousand of a thousand would be a million."""
_PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
TIMESTAMP_NANOS, LOCAL_TIMESTAMP_NANOS = "analytics-timestamp-nanos", "analytics-local-timestamp-nanos"
"""Logical types that fastavro has no readers for, under names that nobody else gives them readers by."""
_RENAMED = {"timestamp-nanos": TIMESTAMP_NANOS, "local-timestamp-nanos": LOCAL_TIMESTAMP_NANOS}
_IN_BATCHES = {"boolean", "int", "long", "float", "double", "string", "enum", "record", "array"}
_LOGICAL_IN_BATCHES = {("long", "timestamp-millis"), ("long", "timestamp-micros"), ("int", "date")}
_LOGICAL = _LOGICAL_IN_BATCHES | {
    ("long", TIMESTAMP_NANOS),
    ("long", "local-timestamp-millis"),
    ("long", "local-timestamp-micros"),
    ("long", LOCAL_TIMESTAMP_NANOS),
    ("int", "time-millis"),
    ("long", "time-micros"),
    ("bytes", "decimal"),
    ("fixed", "decimal"),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A place in a schema."""

    kind: str
    """A primitive type, `record`, `enum`, `array`, `map`, `fixed` or `union`."""
    inside: tuple["Node", ...] = ()
    """Of a record its fields' types, of an array and a map what they hold, of a union its branches."""
    names: tuple[str, ...] = ()
    """Of a record's fields, of an enum its symbols."""
    logical: str | None = None
    """The logical type, where it is one that changes what the value says."""
    size: int = 0
    """Of a fixed, in bytes."""
    optional: bool = field(default=False)
    """Whether it is a union of null and one other type, that one being `inside`."""

    @property
    def in_batches(self) -> bool:
        """Whether the batch reader knows all of it, and Arrow can hold it as one plain column each."""
        if self.optional:
            return self.inside[0].in_batches and not self.inside[0].optional
        return (
            self.kind in _IN_BATCHES
            and (self.logical is None or (self.kind, self.logical) in _LOGICAL_IN_BATCHES)
            and (self.kind != "record" or len(self.inside) > 0)
            and all(one.in_batches for one in self.inside)
        )

    @property
    def takes_bytes(self) -> bool:
        """Whether each of its values takes at least one."""
        if self.kind == "record":
            return any(one.takes_bytes for one in self.inside)
        return self.kind != "null" and (self.kind != "fixed" or self.size > 0)

    def holds(self, *kinds: str) -> bool:
        """Whether one of these kinds is somewhere in it."""
        return self.kind in kinds or any(one.holds(*kinds) for one in self.inside)

    def batch_schema(self, path: str = "r") -> Any:
        """An Avro schema of the same binary form, JSON-ready, in which every name is used once."""
        if self.optional:
            return self._union(path)
        if self.kind == "record":
            fields = [
                {"name": name, "type": one.batch_schema(f"{path}_{number}")}
                for number, (name, one) in enumerate(zip(self.names, self.inside, strict=True))
            ]
            return {"type": "record", "name": path, "fields": fields}
        if self.kind == "enum":
            return {"type": "enum", "name": path, "symbols": list(self.names)}
        if self.kind == "array":
            return {"type": "array", "items": self.inside[0].batch_schema(f"{path}_0")}
        return self.kind if self.logical is None else {"type": self.kind, "logicalType": self.logical}

    def _union(self, path: str) -> list[Any]:
        branch = self.inside[0].batch_schema(f"{path}_0")
        return [branch, "null"] if self.names == ("last",) else ["null", branch]


def tree_of(schema: RegisteredSchema) -> tuple[Node, Any]:
    """The schema written out, and as fastavro reads by it.

    Raises:
        Unreadable: it is none, or one that is refused.
    """
    named: dict[str, Any] = {}
    try:
        for _, text in schema.references:
            fastavro.parse_schema(_renamed(json.loads(text)), named_schemas=named)
        parsed = fastavro.parse_schema(_renamed(json.loads(schema.text)), named_schemas=named)
    except (SchemaParseException, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("its schema is no Avro schema that can be read") from error
    return _Writer(named).node(parsed, ()), parsed


def _renamed(schema: Any) -> Any:
    """The schema with `_RENAMED`."""
    if isinstance(schema, list):
        return [_renamed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _renamed(value) for key, value in schema.items()}
    if found.get("type") == "long" and isinstance(logical := found.get("logicalType"), str):
        found["logicalType"] = _RENAMED.get(logical, logical)
    return found


class _Writer:
    """Writes names out."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._nodes = 0

    def node(self, schema: Any, within: tuple[str, ...]) -> Node:
        """`within`: full names of what it is inside of."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise Unreadable(f"its schema has more than {_MAX_NODES} types, written out")
        if isinstance(schema, list):
            return self._union(schema, within)
        if isinstance(schema, str):
            return Node(schema) if schema in _PRIMITIVES else self._named_type(schema, within)
        kind = schema["type"]
        if kind in {"record", "error", "enum", "fixed"}:
            return self._named_type(schema["name"], within)
        if kind in {"array", "map"}:
            item = self.node(schema["items" if kind == "array" else "values"], within)
            if kind == "array" and not item.takes_bytes:
                raise Unreadable("its schema has an array of items that take no bytes")
            return Node(kind, (item,))
        if isinstance(kind, str) and kind in _PRIMITIVES:
            return _with_logical(Node(kind), schema)
        return self.node(kind, within)

    def _union(self, schema: list[Any], within: tuple[str, ...]) -> Node:
        branches = tuple(self.node(one, within) for one in schema)
        others = tuple(one for one in branches if one.kind != "null")
        if len(branches) == 2 and len(others) == 1 and others[0].kind != "union":
            return Node("union", others, ("last",) if branches[1].kind == "null" else (), optional=True)
        return Node("union", branches)

    def _named_type(self, name: str, within: tuple[str, ...]) -> Node:
        if name in within:
            raise Unreadable("its schema contains itself")
        schema = self._named[name]
        if schema["type"] == "enum":
            return Node("enum", names=tuple(schema["symbols"]))
        if schema["type"] == "fixed":
            return _with_logical(Node("fixed", size=int(schema["size"])), schema)
        fields = [(one["name"], self.node(one["type"], (*within, name))) for one in schema["fields"]]
        return Node("record", tuple(one for _, one in fields), tuple(name for name, _ in fields))


def _with_logical(node: Node, schema: Mapping[str, Any]) -> Node:
    """The node with its logical type; one that nobody knows, or that is on a wrong type, says nothing."""
    logical = schema.get("logicalType")
    if (node.kind, logical) not in _LOGICAL:
        return node
    return replace(node, logical=logical)
