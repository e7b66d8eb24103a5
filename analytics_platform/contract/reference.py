"""Contracts of reference tables: a file or a topic, its columns and its key."""

import re
from pathlib import Path

import polars as pl

from analytics_platform.contract.complaint import one_of, shown
from analytics_platform.contract.event import topic_of
from analytics_platform.contract.field import fields_of, refuse_quality
from analytics_platform.contract.header import agreed, header_of, schema_of
from analytics_platform.contract.keyed import changes_of
from analytics_platform.contract.model import ENVELOPE, Field, Keyed, LogicalType, ReferenceContract
from analytics_platform.contract.source import Node, Source
from analytics_platform.contract.vendor import ours

_FORMATS = ("parquet", "csv")
_TOPIC = "topic"
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*\.(parquet|csv)")


def reference_of(source: Source, domain: str, name: str) -> ReferenceContract:
    """Compile a reference table's contract, and hold its file's columns against it."""
    header = header_of(source, domain, name)
    agreed(source, "freshness", ())
    schema = schema_of(source, name)
    refuse_quality(schema)
    fields = fields_of(schema["properties"])
    key = primary_key(schema, fields)
    history, valid_from = ours(source.root, "history"), ours(source.root, "validFrom")
    if schema["physicalType"].value == _TOPIC:
        if history.value not in (None, True):
            history.refuse("is true, or left out, where rows come by a topic")
        keyed = Keyed(key, _valid_from(valid_from, fields))
        _check_names(schema, fields)
        return ReferenceContract(
            header, fields, key, None, history=True, changes=changes_of(header, topic_of(schema), fields, keyed)
        )
    file = _file(schema)
    if file is not None:
        _check_columns(file, schema, fields)
    if valid_from.value is not None:
        valid_from.refuse("is for topics: versions of a file begin when it is loaded")
    return ReferenceContract(header, fields, key, file or source.path, _history(history))


def _valid_from(node: Node, fields: tuple[Field, ...]) -> str | None:
    known = [field.name for field in fields if field.type is LogicalType.TIMESTAMP and field.required]
    if node.value is not None and node.value not in known:
        node.refuse(one_of(known, node.value, "the required timestamps") if known else "is a required timestamp")
    return node.text or None


def _check_names(schema: Node, fields: tuple[Field, ...]) -> None:
    for field, node in zip(fields, schema["properties"], strict=False):
        if field.name in ENVELOPE:
            node["name"].refuse("is no name of the envelope, which stands beside the fields in silver")


def _history(node: Node) -> bool:
    if node.value is not None and not isinstance(node.value, bool):
        node.refuse("is true or false: whether the table keeps what rows were before they changed")
    return node.value is True


def primary_key(schema: Node, fields: tuple[Field, ...]) -> tuple[str, ...]:
    """The fields marked as primary key, by their position; complains when there is none or one may be null."""
    required = {field.name for field in fields if field.required}
    found: list[tuple[int, str]] = []
    positions: set[int] = set()
    for node in schema["properties"]:
        position = node["primaryKeyPosition"]
        if node["primaryKey"].value is not True:
            if position.value not in (None, -1):
                position.refuse("is nothing without primaryKey: true")
            continue
        if not isinstance(position.value, int) or position.value < 1 or position.value in positions:
            position.refuse("is the position in the key, from 1, each once")
            continue
        positions.add(position.value)
        if node["name"].text and node["name"].text not in required:
            node["required"].refuse("is true for a field of the primary key")
        found.append((position.value, node["name"].text))
    if not positions and fields and not any("primaryKey" in node for node in schema["properties"]):
        schema["properties"].refuse("is primaryKey: true on the fields that identify a row", "no primary key")
    return tuple(name for _, name in sorted(found))


def _file(schema: Node) -> Path | None:
    name, kind = schema["physicalName"], schema["physicalType"]
    if kind.value not in _FORMATS:
        kind.refuse(one_of((*_FORMATS, _TOPIC), kind.value))
        return None
    if not _FILE.fullmatch(name.text):
        name.refuse("is the name of a .parquet or .csv file in the contract's own folder")
        return None
    if not name.text.endswith(f".{kind.value}"):
        name.refuse(f"is a file that ends in .{kind.value}, its physicalType")
        return None
    path = schema.source.path.parent / name.text
    if not path.is_file():
        name.refuse("is a file in the contract's own folder", f"{shown(name.value)}, which is not there")
        return None
    return path


def _check_columns(file: Path, schema: Node, fields: tuple[Field, ...]) -> None:
    try:
        found = pl.read_parquet_schema(file) if file.suffix == ".parquet" else pl.scan_csv(file).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        # Only the first line: the rest repeats the whole path of the file.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        schema["physicalName"].refuse(f"is a {file.suffix[1:]} file that can be read ({reason})")
        return
    nodes = {node["name"].text: node for node in schema["properties"]}
    for field in fields:
        if field.name not in found:
            nodes[field.name]["name"].refuse(one_of(found, field.name, f"the columns of {file.name}"))
        elif file.suffix == ".parquet" and not _fits(found[field.name], field.type):
            kind = nodes[field.name]["logicalType"]
            kind.refuse(f"is a type for {found[field.name]}, as {file.name} has it")


def _fits(found: pl.DataType, kind: LogicalType) -> bool:
    """Whether a column of a file can become one of the contract without loss."""
    fits = {
        LogicalType.STRING: found in {pl.String, pl.Categorical, pl.Enum},
        LogicalType.INTEGER: found.is_integer(),
        LogicalType.NUMBER: found.is_integer() or found.is_float(),
        LogicalType.BOOLEAN: found == pl.Boolean,
        LogicalType.TIMESTAMP: isinstance(found, pl.Datetime) and found.time_zone is not None,
        LogicalType.DATE: found == pl.Date,
        LogicalType.OBJECT: isinstance(found, pl.Struct),
        LogicalType.ARRAY: isinstance(found, pl.List),
    }
    return fits[kind]
