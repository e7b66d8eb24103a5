"""Contracts of marts: grain and window, and the SQL that makes the rows."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from analytics_platform.contract.complaint import Complaint, one_of, shown
from analytics_platform.contract.field import fields_of, refuse_quality
from analytics_platform.contract.header import agreed, header_of, schema_of
from analytics_platform.contract.lookback import lookbacks_of, refuse_lookbacks, time_field
from analytics_platform.contract.model import NAME, PERSONAL, LogicalType, MartContract, Window
from analytics_platform.contract.reference import primary_key
from analytics_platform.contract.session import check_session, session_of
from analytics_platform.contract.source import MAX_BYTES, Node, Source
from analytics_platform.contract.sql import Bench, SqlRefused
from analytics_platform.contract.vendor import check_keys, ours
from analytics_platform.contract.watermark import duration_of

DAY = timedelta(days=1)

_SIZE = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=366)
_MOST_OVERLAPPING = 400


def mart_of(source: Source, sql_file: str, domain: str, name: str) -> MartContract:
    """Compile a mart's contract; `with_inputs` finds out what its SQL reads, `check_mart` whether it fits.

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
        window=_window(ours(source.root, "window"), schema, grain),
        sql=content.decode("utf-8", errors="replace"),
        sql_path=path,
        silver_inputs=(),
        reference_inputs=(),
        freshness=agreed(source, "freshness"),
    )


def with_inputs(source: Source, sql_file: str, mart: MartContract, bench: Bench) -> MartContract:
    """The mart with the tables that its SQL reads, and a complaint where it reads others."""
    try:
        inputs = bench.inputs(mart.sql, mart.name)
    except SqlRefused as refused:
        _complain(source, sql_file, refused)
        return mart
    names = {
        layer: tuple(sorted(name for at, name in inputs if at == layer)) for layer in ("silver", "reference", "gold")
    }
    return replace(mart, silver_inputs=names["silver"], reference_inputs=names["reference"], gold_inputs=names["gold"])


def check_mart(
    source: Source, sql_file: str, mart: MartContract, bench: Bench, marts: Mapping[str, MartContract]
) -> None:
    """Run the SQL over empty tables and complain where it does not fit its contract.

    `marts`: those that it reads, among others.
    """
    if mart.window.session is not None:
        check_session(ours(source.root, "window"), mart, bench)
    for name in mart.gold_inputs if mart.window.session is None else ():
        other = marts[name].window
        if other.step == DAY and (mart.window.step < DAY or mart.window.timezone != other.timezone):
            allowed = f"are days in {other.timezone}, as those of gold.{name}, which it reads"
            ours(source.root, "window")["timezone"].refuse(allowed, f"windows in {mart.window.timezone}")
    try:
        columns = bench.columns(mart.sql, mart.window, () if mart.window.session is None else mart.silver_inputs)
    except SqlRefused as refused:
        _complain(source, sql_file, refused)
        return
    schema = next(iter(source.root["schema"]))
    if all(NAME.fullmatch(field.name) for field in mart.fields):
        _check_columns(schema, mart, columns, bench, Path(sql_file).name)
    time_fields = ours(source.root, "window")["timeFields"]
    if mart.silver_inputs and time_fields.value is None:
        time_fields.refuse("is a mapping of silver tables to their timestamps")
    elif isinstance(time_fields.value, dict):
        _check_time_fields(time_fields, mart, bench, Path(sql_file).name)


def _complain(source: Source, sql_file: str, refused: SqlRefused) -> None:
    if not refused.is_consequence:
        source.complaints.append(Complaint(sql_file, refused.line, "", refused.found, refused.allowed))


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


def _window(node: Node, schema: Node, grain: tuple[str, ...]) -> Window:
    if "gap" in node:
        return _sessions(node, schema, grain)
    if not check_keys(node, ("column", "size", "timezone"), ("hop", "timeFields", "finalAfter", "late", "asOf")):
        return Window("", DAY, "UTC", {})
    size, hop = _lengths(node)
    step = size if hop is None else hop
    zone = node["timezone"]
    if zone.value is not None and not _is_zone(zone.text):
        zone.refuse("is the name of an IANA time zone, as in America/New_York")
    elif step < DAY and zone.value not in (None, "UTC"):
        zone.refuse(
            "is UTC for windows shorter than a day" if hop is None else "is UTC where windows do not begin daily"
        )
    expected = LogicalType.DATE if step == DAY else LogicalType.TIMESTAMP
    of = f"window of {node['size'].value}" + ("" if hop is None else f" that begins every {node['hop'].value}")
    _check_column(node["column"], schema, grain, expected, f"a {of}")
    settle = duration_of(node["finalAfter"]) or timedelta(0)
    lookbacks = lookbacks_of(node["timeFields"], size, step)
    overlaps = hop is not None or bool(lookbacks)
    return Window(
        node["column"].text,
        size,
        zone.text,
        _time_fields(node["timeFields"]),
        hop,
        settle,
        keeps=_keeps(node["late"], overlaps=overlaps, has_rows=node["timeFields"].value is not None),
        lookbacks=lookbacks,
        as_of=_as_of(node["asOf"]),
    )


def _sessions(node: Node, schema: Node, grain: tuple[str, ...]) -> Window:
    check_keys(node, ("column", "gap", "by"), ("timeFields", "finalAfter"))
    _check_column(node["column"], schema, grain, LogicalType.TIMESTAMP, "a session")
    session = session_of(node, schema, grain)
    settle = duration_of(node["finalAfter"]) or timedelta(0)
    times = _time_fields(node["timeFields"])
    refuse_lookbacks(node["timeFields"])
    return Window(node["column"].text, timedelta(0), "UTC", times, None, settle, session=session)


def _check_column(column: Node, schema: Node, grain: tuple[str, ...], expected: LogicalType, of: str) -> None:
    """Complain where the window's column is not of the grain, of another type, or not fit to stand in a log."""
    kinds = {item["name"].text: item["logicalType"] for item in schema["properties"]}
    if grain and column.value is not None and column.value not in grain:
        column.refuse(one_of(grain, column.value, "the primary key"))
    elif column.text in kinds and kinds[column.text].value != expected:
        kinds[column.text].refuse(f"is {expected} for the start of {of}")
    for item in schema["properties"]:
        if item["name"].value == column.value and item["classification"].value in PERSONAL:
            item["classification"].refuse(
                "are public and internal for the window's column: it stands in the table's log"
            )


def _time_fields(node: Node) -> dict[str, str]:
    if node.value is not None and not isinstance(node.value, dict):
        node.refuse("is a mapping of silver tables to their timestamps")
    return {key: time_field(node[key]).text for key in node.keys}


def _as_of(node: Node) -> bool:
    if node.value is not None and not isinstance(node.value, bool):
        node.refuse("is true or false: whether histories are read as of a time inside the window")
    return node.value is True


def _keeps(node: Node, *, overlaps: bool, has_rows: bool) -> bool:
    """Whether rows that come after a window is final are left out of it."""
    if node.value not in (None, "restate", "keep"):
        node.refuse(one_of(("restate", "keep"), node.value))
    if node.value == "keep" and overlaps:
        why = "a row may be late for one window and in time for another"
        node.refuse(f"is restate where windows overlap or see rows from before them: {why}")
    elif node.value == "keep" and not has_rows:
        node.refuse("is restate for a mart over marts alone: what those keep out never comes here")
    return bool(node.value == "keep")


def _lengths(node: Node) -> tuple[timedelta, timedelta | None]:
    """How long windows are, and from one start to the next where that is another length."""
    size, hop = node["size"], node["hop"]
    if hop.value is None:
        return _step(size, "; with hop, a multiple of that"), None
    step, length = _step(hop), _length(size)
    if length is None or length > _LONGEST or length <= step or length % step:
        if size.value is not None:
            size.refuse(f"is a multiple of hop, at most {_LONGEST.days}d, as in 7d")
        return step, None
    if length // step > _MOST_OVERLAPPING:
        size.refuse(f"is at most {_MOST_OVERLAPPING} times as long as hop: every row counts in so many windows")
    return length, step


def _length(node: Node) -> timedelta | None:
    match = _SIZE.fullmatch(node.text)
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else None


def _step(node: Node, more: str = "") -> timedelta:
    """From one start to the next: so that they are the same on every day."""
    size = _length(node)
    if size is None or size > DAY or DAY % size:
        if node.value is not None:
            node.refuse(f"is 1d, or a part of a day that divides it, as in 15m or 1h{more}")
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
        timestamps, chosen = bench.timestamps("silver", name), time_field(node[name])
        if chosen.value not in timestamps:
            chosen.refuse(one_of(timestamps, chosen.value, f"the required timestamps of silver.{name}"))
    if mart.silver_inputs and not mart.gold_inputs and set(mart.silver_inputs) <= set(mart.window.lookbacks):
        node.refuse("is a table without: its rows say which windows there are", "a lookback for every table")
