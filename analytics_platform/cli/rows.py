"""Rows of an answer as a table, CSV, JSON or Parquet; all but the table are written while they are computed."""

import csv
import io
import shutil
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import IO, Any
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analytics_platform.errors import QueryFailed
from analytics_platform.query import Answer

_CELL = 60
"""A longer value is cut in a table; the other formats cut nothing."""

_ENCODER = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def write_table(answer: Answer, file: IO[bytes], most: int | None) -> int:
    """Rows for people, at most `most` of them, and how many there are; on a terminal only columns that fit into it.

    What is cut is said below the table.
    """
    rows = _rows(answer)
    if answer.columns == ["explain_key", "explain_value"]:  # a drawing of many lines, not a value to cut
        plans = list(rows)
        file.write("\n".join(str(plan) for _, plan in plans).encode() + b"\n")
        return len(plans)
    shown = [[cell(value) for value in row] for row in islice(rows, most)]
    count = len(shown) + sum(1 for _ in rows)
    width = shutil.get_terminal_size().columns if file.isatty() else None
    fitting = _fitting(answer.columns, shown, width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(answer.columns[:fitting]):
        numeric = pa.types.is_integer(kind := answer.reader.schema.field(at).type) or pa.types.is_floating(kind)
        right = numeric or pa.types.is_decimal(kind)
        table.add_column(Text(name), justify="right" if right else "left", no_wrap=True)
    for row in shown:
        table.add_row(*row[:fitting])
    text = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
    try:
        console = Console(file=text, width=width or 100_000, force_terminal=width is not None, soft_wrap=True)
        if answer.columns:
            console.print(table)
        for line in _footer(answer.columns, fitting, len(shown), count):
            console.print(Text(line, style="dim"))
    finally:
        text.detach()
    return count


def write_csv(answer: Answer, file: IO[bytes]) -> int:
    """A header and a line per row, quoted as in RFC 4180: null is empty, structs and lists are JSON, bytes base64."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    count = 0
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(answer.columns)
        for row in _rows(answer):
            writer.writerow([_csv(value) for value in row])
            count += 1
    finally:
        text.detach()
    return count


def write_json(answer: Answer, file: IO[bytes]) -> int:
    """An array of objects, one per line: times in ISO 8601, bytes in base64; NaN and the infinities become null."""
    names = _distinct(answer.columns)
    count = 0
    file.write(b"[")
    for row in _rows(answer):
        file.write(b",\n" if count else b"\n")
        file.write(_ENCODER.encode(dict(zip(names, row, strict=True))))
        count += 1
    file.write(b"\n]\n")
    return count


def write_parquet(answer: Answer, file: IO[bytes]) -> int:
    """One Parquet file, in types as DuckDB hands them to Arrow.

    Raises:
        QueryFailed: a column's type has no place in Parquet.
    """
    count = 0
    schema = answer.reader.schema
    named = pa.schema([field.with_name(name) for field, name in zip(schema, _distinct(schema.names), strict=True)])
    try:
        with pq.ParquetWriter(file, named) as writer:
            for batch in answer.batches():
                writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=named))
                count += batch.num_rows
    except pa.ArrowNotImplementedError as error:
        raise QueryFailed(f"Parquet cannot hold these rows: {error}. Cast the column to VARCHAR.") from error
    return count


def _rows(answer: Answer) -> Iterator[tuple[Any, ...]]:
    for batch in answer.batches():
        if batch.num_columns:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _distinct(names: list[str]) -> list[str]:
    """The names with `_1`, `_2` after those that come again, so that an object can hold them all."""
    found: list[str] = []
    for name in names:
        distinct, number = name, 0
        while distinct in found:
            number += 1
            distinct = f"{name}_{number}"
        found.append(distinct)
    return found


def cell(value: Any, longest: int = _CELL) -> Text:
    """A value in a cell for people: one line, cut, and nothing in it that could steer the terminal."""
    if value is None:
        return Text("null", style="dim")
    if isinstance(value, str):
        text = value
    elif isinstance(value, float):
        text = f"{value:.10g}"
    elif isinstance(value, datetime):
        text = str(value).replace("+00:00", "Z")
    elif isinstance(value, bytes):
        text = value.decode("utf-8", errors="backslashreplace")
    elif isinstance(value, dict | list | tuple):
        text = _json(value)
    else:
        text = _csv(value)
    # One row is one line, and a value from outside cannot steer the terminal.
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[: longest * 4])
    return Text(text if len(text) <= longest else f"{text[: longest - 1]}…")


def _csv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal | UUID):
        return str(value)
    if isinstance(value, datetime | date | time | timedelta | bytes):
        return str(msgspec.to_builtins(value, enc_hook=str)) if not isinstance(value, timedelta) else str(value)
    return _json(value)


def _json(value: Any) -> str:
    return _ENCODER.encode(value).decode()


def _fitting(columns: list[str], rows: list[list[Text]], width: int | None) -> int:
    if width is None:
        return len(columns)
    used = 0
    for at, name in enumerate(columns):
        used += max([len(name), *(row[at].cell_len for row in rows)]) + (1 if at else 0)
        if used > width:
            return max(1, at)
    return len(columns)


def _footer(columns: list[str], fitting: int, shown: int, count: int) -> Iterator[str]:
    if fitting < len(columns):
        left = ", ".join(columns[fitting:])
        yield f"{len(columns) - fitting} more columns do not fit: {left} (--format csv, json or parquet writes all)"
    rows = "1 row" if count == 1 else f"{count:,} rows"
    yield rows if shown == count else f"{rows}, the first {shown:,} shown (--rows 0 shows all)"
