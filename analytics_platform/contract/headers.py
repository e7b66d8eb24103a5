"""The headers of a whole batch as columns, and the looks at them that need no record on its own."""

from collections.abc import Sequence

import msgspec
import polars as pl

from analytics_platform.contract.model import Field, LogicalType
from analytics_platform.contract.wire import SCALARS

_ROW = "_row"


def header_columns(records: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """A column of bytes for each of these headers, a row for each record; the last header of a name counts."""
    listed = records.select("headers").with_row_index(_ROW)
    headers, rows = listed.explode("headers", empty_as_null=True).unnest("headers"), listed.select(_ROW)
    for name in names:
        found = (
            headers.filter(pl.col("name") == name).unique(_ROW, keep="last").select(_ROW, pl.col("value").alias(name))
        )
        rows = rows.join(found, on=_ROW, how="left", maintain_order="left")
    return rows.drop(_ROW)


def texts(header: pl.Series) -> pl.Series:
    """The texts of a header; null also where its bytes are not UTF-8."""
    try:
        return header.cast(pl.String)
    except pl.exceptions.ComputeError:
        # One broken text fails the cast of the column; only then are they tried one by one.
        return pl.Series(header.name, [_text(value) for value in header], pl.String)


def unfit(headers: pl.DataFrame, fields: Sequence[tuple[str, Field]]) -> set[int]:
    """The rows in which some field cannot come from its header: it is missing, not UTF-8, or of another type."""
    found = pl.repeat(False, headers.height, eager=True)
    for name, field in fields:
        text = texts(headers[name])
        found |= text.is_null() if field.required else text.is_null() & headers[name].is_not_null()
        if field.type is not LogicalType.STRING:
            wrong = [place for place, one in enumerate(text) if one is not None and not _fits(one, field)]
            found = found.scatter(wrong, True)
    return set(found.arg_true())


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _fits(text: str, field: Field) -> bool:
    try:
        msgspec.convert(text, SCALARS[field.type])
    except msgspec.ValidationError:
        return False
    return True
