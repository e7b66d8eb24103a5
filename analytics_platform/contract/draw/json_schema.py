"""A JSON Schema, as a sketch of a contract.

What `contract/json_schema.py` writes is read back as what it came from: its patterns of times, the bounds of a column
of integers and the major of `schema_version` are no rules of their own.

https://json-schema.org/draft/2020-12, and what older drafts write otherwise
"""

import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from analytics_platform.contract.draw.schema_part import Part, Refused, plain_parts
from analytics_platform.contract.draw.schema_rule import rules_of
from analytics_platform.contract.draw.sketch import Notes, Sketch, not_too_deep, printable, schema_of, shortly, within
from analytics_platform.contract.json_schema import VERSION
from analytics_platform.contract.model import Field, LogicalType
from analytics_platform.errors import NotImportable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat

_DIALECT = re.compile(r"https?://json-schema\.org/(draft-0[467]|draft/20(19-09|20-12))/schema#?")
_TITLE = re.compile(r"([a-z][a-z0-9_]{0,62})@[0-9]+\.[0-9]+\.[0-9]+")
"""Of the schemas that the platform makes."""
_MAJOR = re.compile(r"\^([0-9]+)" + re.escape(VERSION))
_SILENT = frozenset(
    {"$schema", "$id", "id", "$defs", "definitions", "$anchor", "$comment", "$vocabulary", "title", "description"}
)
"""What says nothing about values."""
_READ = {
    "object": {"properties", "required", "additionalProperties", "unevaluatedProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "boolean": set[str](),
}
"""Beside `type`, `enum`, `const` and `deprecated`, which all have."""
_NO_SCHEMA = "it is no JSON Schema that can be read"


def json_schema_sketch(schema: RegisteredSchema, source: str) -> Sketch:
    """What a JSON Schema says of an event's value.

    Raises:
        NotImportable: it is no JSON Schema, or none of an object.
    """
    documents = {name: _parsed(text, source) for name, text in (*schema.references, ("", schema.text))}
    reader = _Reader(documents, Notes(source))
    try:
        with not_too_deep(source):
            parts = plain_parts([Part(documents[""])], documents)
            fields = reader.event(parts)
    except Refused as refused:
        raise NotImportable(source, str(refused)) from None
    title = str(next((one.schema["title"] for one in parts if "title" in one.schema), ""))
    ours = _TITLE.fullmatch(title)
    return Sketch(
        source=source,
        fields=fields,
        left_out=tuple(reader.notes.left_out),
        name=ours[1] if ours else title,
        description=_words(parts, with_title=False),
        wire=WireFormat.JSON if schema.kind is WireFormat.JSON else WireFormat.JSON_SCHEMA,
        types=tuple(reader.constants) if ours else None,
        versions=tuple(reader.versions) if ours else None,
    )


def _parsed(text: str, source: str) -> Any:
    try:
        found = schema_of(text)
        dialect = found.get("$schema") if isinstance(found, dict) else None
        # Another dialect would be looked for in the net.
        known = dialect is None or (isinstance(dialect, str) and _DIALECT.fullmatch(dialect) is not None)
        jsonschema_rs.meta.validate(
            found if known else {**found, "$schema": "https://json-schema.org/draft/2020-12/schema"}
        )
    except jsonschema_rs.ValidationError as error:
        where = "".join(f"/{step}" for step in error.instance_path) or "the whole"
        raise NotImportable(source, f"{_NO_SCHEMA} ({printable(where)}: {shortly(error)})") from error
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise NotImportable(source, f"{_NO_SCHEMA} ({shortly(error)})") from error
    except RecursionError as error:
        raise NotImportable(source, f"{_NO_SCHEMA} (it nests too deep)") from error
    return found


class _Reader:
    def __init__(self, documents: Mapping[str, Any], notes: Notes) -> None:
        self._documents = documents
        self.notes = notes
        self.constants: list[str] = []
        """Fields of the value that are always the same."""
        self.versions: list[str] = []
        """Fields of the value that hold versions of one major."""
        self._never_null: list[str] = []
        self._never_absent: list[str] = []

    def event(self, parts: list[Part]) -> tuple[Field, ...]:
        """The fields of the whole value."""
        kind, _ = _kind(parts, self.notes, "")
        if kind is not LogicalType.OBJECT:
            raise Refused("its values are no objects")
        self._note_unread(parts, kind, "the event")
        fields = self._fields(parts, "")
        self.notes.leave_all("that these are never null", self._never_null, "an optional field may be both")
        self.notes.leave_all("that these are never absent", self._never_absent, "a field that may be null is optional")
        return fields

    def _object(self, parts: list[Part], path: str) -> tuple[Field, ...]:
        if not any("properties" in part.schema for part in parts):
            raise Refused("the fields of the object are not given: it may be a map")
        return self._fields(parts, path)

    def _fields(self, parts: list[Part], path: str) -> tuple[Field, ...]:
        """The fields of an object."""
        properties: dict[str, list[Part]] = {}
        for part in parts:
            for name, schema in part.schema.get("properties", {}).items():
                properties.setdefault(name, []).append(part.beside(schema))
            for keyword in ("additionalProperties", "unevaluatedProperties"):
                if part.schema.get(keyword, True) is not True:
                    where = path or "the event"
                    self.notes.leave(f"{keyword} of {where}", "fields that a contract does not name are let be")
        needed = {name for part in parts for name in part.schema.get("required", ())}
        for name in sorted(needed - properties.keys()):
            self.notes.leave(within(path, name), "it is required, and its schema is not given")
        found = (self._field(name, ones, within(path, name), name in needed) for name, ones in properties.items())
        return tuple(one for one in found if one is not None)

    def _field(self, name: str, parts: list[Part], path: str, needed: bool | None) -> Field | None:
        """`needed`: whether it is always there; None for what an array holds."""
        self.notes.count()
        try:
            parts = plain_parts(parts, self._documents)
            kind, nullable = _kind(parts, self.notes, path)
            fields = self._object(parts, path) if kind is LogicalType.OBJECT else ()
            item = self._item(parts, path) if kind is LogicalType.ARRAY else None
        except Refused as refused:
            self.notes.leave(path, str(refused))
            return None
        if kind is LogicalType.ARRAY and item is None:
            return None
        if needed is not None and nullable == needed:
            (self._never_absent if needed else self._never_null).append(path)
        is_top = needed is not None and path == name
        if is_top and any("const" in part.schema for part in parts):
            self.constants.append(name)
        self._note_unread(parts, kind, path)
        rules = rules_of(
            [part.schema for part in parts], kind, self._majors(parts, name) if is_top else (), self.notes, path
        )
        deprecated = any(part.schema.get("deprecated") is True for part in parts)
        required = needed is not False and not nullable
        words = _words(parts, with_title=True)
        return Field(name, kind, required, words, rules, fields=fields, item=item, deprecated=deprecated)

    def _item(self, parts: list[Part], path: str) -> Field | None:
        items = [part.beside(part.schema["items"]) for part in parts if "items" in part.schema]
        differs = any("prefixItems" in part.schema for part in parts)
        if not items or differs or any(isinstance(one.schema, list) for one in items):
            raise Refused("what the array holds is not given, or differs by its place")
        return self._field("item", items, f"{path}[]", None)

    def _majors(self, parts: list[Part], name: str) -> tuple[str, ...]:
        """The patterns that say nothing but the major of a version."""
        patterns = [str(part.schema["pattern"]) for part in parts if "pattern" in part.schema]
        found = {pattern: match[1] for pattern in patterns if (match := _MAJOR.fullmatch(pattern))}
        if found:
            self.versions.append(name)
        for major in found.values():
            if major != "1":
                self.notes.leave(f"that {name} begins with {major}", "a contract that begins is of version 1.0.0")
        return tuple(found)

    def _note_unread(self, parts: list[Part], kind: LogicalType, path: str) -> None:
        written = "string" if kind in {LogicalType.TIMESTAMP, LogicalType.DATE} else str(kind)
        known = _SILENT | _READ[written] | {"type", "enum", "const", "deprecated"}
        for part in parts:
            for keyword in part.schema:
                if keyword not in known:
                    self.notes.leave(f"{keyword} of {path}", "contracts have nothing of the kind for such a field")


def _kind(parts: list[Part], notes: Notes, path: str) -> tuple[LogicalType, bool]:
    """The type of what all parts say together, and whether it may be null."""
    types: frozenset[str] | None = None
    for part in parts:
        if (own := part.types) is not None:
            own |= {"integer"} if "number" in own else set()
            types = own if types is None else types & own
    if types is None:
        types = _meant(parts)
    nullable = "null" in types
    types -= {"null"}
    if types >= {"integer", "number"}:
        types -= {"integer"}
    if len(types) != 1:
        raise Refused("it is one of several types, and a field has one" if types else "no type but null fits all of it")
    (name,) = types
    kind = LogicalType(name)
    formats = {part.schema["format"] for part in parts if "format" in part.schema}
    if kind is LogicalType.STRING and formats:
        kind = {"date-time": LogicalType.TIMESTAMP, "date": LogicalType.DATE}.get(min(formats), kind)
        if kind is LogicalType.STRING or len(formats) > 1:
            notes.leave(f"the format {', '.join(sorted(formats))} of {path}", "contracts check no formats of text")
    return kind, nullable


def _meant(parts: list[Part]) -> frozenset[str]:
    """The type where none is said but follows from the rest."""
    values = [value for part in parts for value in (*part.schema.get("enum", ()), part.schema.get("const"))]
    texts = [value for value in values if value is not None]
    if texts and all(isinstance(value, str) for value in texts):
        nulls = any(None in part.schema.get("enum", ()) for part in parts)
        return frozenset({"string", "null"} if nulls or all(part.nullable for part in parts) else {"string"})
    for keyword, name in (("properties", "object"), ("items", "array")):
        if any(keyword in part.schema for part in parts):
            return frozenset({name, "null"} if all(part.nullable for part in parts) else {name})
    raise Refused("it says no type")


def _words(parts: list[Part], *, with_title: bool) -> str:
    keywords = ("description", "title") if with_title else ("description",)
    return next(
        (str(part.schema[one]).strip() for one in keywords for part in parts if part.schema.get(one)),
        "",
    )
