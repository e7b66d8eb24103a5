"""Contracts of marts: grain and window, and the SQL that makes the rows."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from analytics_platform.contract.complaint import Complaint, one_of, shown
from analytics_platform.contract.field import fields_of, refuse_quality
from analytics_platform.contract.header import agreed, header_of, schema_of
from analytics_platform.contract.model import NAME, PERSONAL, Field, LogicalType, MartContract, Window
from analytics_platform.contract.reference import primary_key
from analytics_platform.contract.source import MAX_BYTES, Node, Source
from analytics_platform.contract.sql import Bench, SqlRefused
from analytics_platform.contract.vendor import check_keys, ours

DAY = timedelta(days=1)

_SIZE = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def mart_of(source: Source, sql_file: str, domain: str, name: str) -> MartContract:
    """Compile a mart's contract; `check_mart` finds out what its SQL reads and whether it fits.

    `sql_file` is how complaints name the SQL, which stands beside the contract.
    """
    path = source.path.parent / f"{name}.sql"
    content = _content(path, sql_file, source)
    header = header_of(source, domain, name, sql=content)
    schema = schema_of(source, name)
    refuse_quality(schema)
    if schema["physicalType"].value not in (None, "table"):
        schema["physicalType"].refuse("is table")
    fields = fields_of(schema["properties"])
    grain = primary_key(schema, fields)
    return MartContract(
        header=header,
        fields=fields,
        grain=grain,
        window=_window(ours(source.root, "window"), schema, fields, grain),
        sql=content.decode("utf-8", errors="replace"),
        sql_path=path,
        silver_inputs=(),
        reference_inputs=(),
        freshness=agreed(source, "freshness"),
    )


def check_mart(source: Source, sql_file: str, mart: MartContract, bench: Bench) -> MartContract:
    """Run the SQL over empty tables: the mart with its inputs, and complaints where it does not fit its contract."""
    if not mart.fields:
        return mart
    try:
        inputs = bench.inputs(mart.sql)
        columns = bench.columns(mart.sql)
    except SqlRefused as refused:
        if not refused.is_consequence:
            source.complaints.append(Complaint(sql_file, refused.line, "", refused.found, refused.allowed))
        return mart
    mart = replace(
        mart,
        silver_inputs=tuple(sorted(name for layer, name in inputs if layer == "silver")),
        reference_inputs=tuple(sorted(name for layer, name in inputs if layer == "reference")),
    )
    schema = next(iter(source.root["schema"]))
    if all(NAME.fullmatch(field.name) for field in mart.fields):
        _check_columns(schema, mart, columns, bench, Path(sql_file).name)
    time_fields = ours(source.root, "window")["timeFields"]
    if isinstance(time_fields.value, dict):
        _check_time_fields(time_fields, mart, bench, Path(sql_file).name)
    return mart


def _content(path: Path, sql_file: str, source: Source) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        content.decode("utf-8")
    except OSError:
        source.complaints.append(Complaint(sql_file, None, "", "no such file", "is the mart's SQL beside its contract"))
        return b""
    except UnicodeDecodeError:
        source.complaints.append(Complaint(sql_file, None, "", "bytes that are not UTF-8", "is UTF-8 text"))
        return b""
    if len(content) > MAX_BYTES:
        found = f"more than {MAX_BYTES} bytes"
        source.complaints.append(Complaint(sql_file, None, "", found, f"are at most {MAX_BYTES}"))
        return b""
    return content


def _window(node: Node, schema: Node, fields: tuple[Field, ...], grain: tuple[str, ...]) -> Window:
    if not check_keys(node, ("column", "size", "timezone", "timeFields")):
        return Window("", DAY, "UTC", {})
    size = _size(node["size"])
    zone = node["timezone"]
    if zone.value is not None and not _is_zone(zone.text):
        zone.refuse("is the name of an IANA time zone, as in America/New_York")
    elif size < DAY and zone.value not in (None, "UTC"):
        zone.refuse("is UTC for windows shorter than a day")
    column = node["column"]
    kinds = {field.name: field.type for field in fields}
    if grain and column.value is not None and column.value not in grain:
        column.refuse(one_of(grain, column.value, "the primary key"))
    elif column.text in kinds:
        expected = LogicalType.DATE if size == DAY else LogicalType.TIMESTAMP
        if kinds[column.text] is not expected:
            position = next(item for item in schema["properties"] if item["name"].value == column.value)
            position["logicalType"].refuse(f"is {expected} for the start of a window of {node['size'].value}")
    for item in schema["properties"]:
        if item["name"].value == column.value and item["classification"].value in PERSONAL:
            item["classification"].refuse(
                "are public and internal for the window's column: it stands in the table's log"
            )
    time_fields = node["timeFields"]
    if time_fields.value is not None and not isinstance(time_fields.value, dict):
        time_fields.refuse("is a mapping of silver tables to their timestamps")
    return Window(column.text, size, zone.text, {key: time_fields[key].text for key in time_fields.keys})


def _size(node: Node) -> timedelta:
    match = _SIZE.fullmatch(node.text)
    size = timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else None
    if size is None or size > DAY or DAY % size:
        if node.value is not None:
            node.refuse("is 1d, or a part of a day that divides it, as in 15m or 1h")
        return DAY
    return size


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _check_columns(schema: Node, mart: MartContract, columns: dict[str, str], bench: Bench, sql_name: str) -> None:
    expected = bench.types(mart.fields)
    nodes = {node["name"].text: node for node in schema["properties"]}
    for name, kind in expected.items():
        if name not in columns:
            nodes[name]["name"].refuse(one_of(columns, name, f"the columns {sql_name} returns"))
        elif columns[name] != kind:
            found = f"{shown(nodes[name]['logicalType'].value)}, but {columns[name]} in {sql_name}"
            nodes[name]["logicalType"].refuse(f"is {kind}: cast it in the SQL, or change the type here", found)
    for name in columns:
        if name not in expected:
            found = f"nothing of the column {shown(name)} that {sql_name} returns"
            schema["properties"].source.complain(
                (*schema["properties"].path, name), found, "is every column of the SQL"
            )


def _check_time_fields(node: Node, mart: MartContract, bench: Bench, sql_name: str) -> None:
    for name in mart.silver_inputs:
        if name not in node:
            node[name].refuse(f"is the timestamp by which rows of silver.{name} fall into windows")
    for name in node.keys:
        if name not in mart.silver_inputs:
            node[name].refuse(one_of(mart.silver_inputs, name, f"the silver tables {sql_name} reads"), shown(name))
            continue
        timestamps = bench.timestamps("silver", name)
        if node[name].value not in timestamps:
            node[name].refuse(one_of(timestamps, node[name].value, f"the required timestamps of silver.{name}"))
