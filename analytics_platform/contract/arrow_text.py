"""Batches of Arrow as JSON, a text for every row: what msgspec would write of the same values, one by one.

What JSON cannot say is told, not written: numbers that are no numbers, times out of range.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa

_DAYS = (-719_162, 2_932_896)
"""From 0001-01-01 to 9999-12-31."""
_MICROS = (-62_135_596_800_000_000, 253_402_300_799_999_999)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEYOND = "out of range"
"""Stands for a time before the year 1 or after 9999, which RFC 3339 cannot say; such rows are odd."""

_SECONDS = "%Y-%m-%dT%H:%M:%S"


def json_texts(batch: pa.RecordBatch) -> tuple[pl.Series, pl.Series]:
    """Every row as the UTF-8 bytes of a JSON object, and which rows have to be looked at one by one instead.

    Timestamps become RFC 3339 in UTC, with six digits after the second or none, dates ISO 8601, 32-bit numbers the 64-bit ones of their value.

    Args:
        batch: Of booleans, integers, floating point numbers, strings, dates, timestamps of microseconds, and of lists
            and structs of these.
    """
    return frame_texts(pl.DataFrame(pl.from_arrow(batch)))


def frame_texts(frame: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """The same for a frame of columns of these types; what has a time zone has UTC."""
    odd = [is_odd(pl.col(name), kind) for name, kind in frame.schema.items()]
    columns = [plain(pl.col(name), kind).alias(name) for name, kind in frame.schema.items()]
    text = frame.select(pl.struct(columns).struct.json_encode().cast(pl.Binary).alias("text"))["text"]
    doubts = [one.fill_null(value=False) for one in odd if one is not None]
    if not doubts:
        return text, pl.repeat(False, frame.height, eager=True)
    return text, frame.select(pl.any_horizontal(doubts).alias("odd"))["odd"]


def finite(value: Any) -> Any:
    """A value of one row, with the names of numbers that are none in their places."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value


def instant(seconds: int, nanos: int) -> datetime | str:
    """A time since 1970 in UTC; RFC 3339 where a datetime would lose digits, of which contracts keep six.

    Raises:
        OverflowError: it is before the year 1 or after 9999.
    """
    whole = _EPOCH + timedelta(seconds=seconds)
    if nanos % 1000 == 0:
        return whole + timedelta(microseconds=nanos // 1000)
    return f"{whole.replace(tzinfo=None).isoformat()}.{nanos:09}Z"


def _needs(kind: pl.DataType) -> bool:
    if isinstance(kind, pl.Struct):
        return any(_needs(_instance(field.dtype)) for field in kind.fields)
    if isinstance(kind, pl.List):
        return _needs(_instance(kind.inner))
    return kind == pl.Float32 or isinstance(kind, pl.Datetime | pl.Date)


def _instance(kind: object) -> pl.DataType:
    return kind() if isinstance(kind, type) else kind  # type: ignore[return-value]


def plain(value: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """The value in a type that every writer of JSON writes alike: times as text."""
    if not _needs(kind):
        return value
    if isinstance(kind, pl.Struct):
        inner = [
            plain(value.struct.field(field.name), _instance(field.dtype)).alias(field.name) for field in kind.fields
        ]
        return pl.when(value.is_not_null()).then(pl.struct(inner))
    if isinstance(kind, pl.List):
        return value.list.eval(plain(pl.element(), _instance(kind.inner)))
    if isinstance(kind, pl.Datetime):
        micros = _micros(value)
        whole = pl.when(micros.cast(pl.Int64).is_between(*_MICROS)).then(micros)  # polars panics at those outside
        fraction = whole.dt.microsecond() != 0
        text = (
            pl.when(fraction).then(whole.dt.strftime(f"{_SECONDS}%.6fZ")).otherwise(whole.dt.strftime(f"{_SECONDS}Z"))
        )
        return pl.when(value.is_not_null() & whole.is_null()).then(pl.lit(BEYOND)).otherwise(text)
    if isinstance(kind, pl.Date):
        day = pl.when(value.cast(pl.Int32).is_between(*_DAYS)).then(value)
        text = day.dt.strftime("%Y-%m-%d")
        return pl.when(value.is_not_null() & day.is_null()).then(pl.lit(BEYOND)).otherwise(text)
    return value.cast(pl.Float64)


def _micros(value: pl.Expr) -> pl.Expr:
    """A timestamp in microseconds, null where so many are no 64-bit number: polars panics when it complains of those."""
    return value.dt.replace_time_zone(None).cast(pl.Datetime("us"), strict=False)


def is_odd(value: pl.Expr, kind: pl.DataType) -> pl.Expr | None:
    """Whether something in the value cannot be written in JSON, or only in one of several ways."""
    if isinstance(kind, pl.Struct):
        found = [is_odd(value.struct.field(field.name), _instance(field.dtype)) for field in kind.fields]
        return _any([one for one in found if one is not None])
    if isinstance(kind, pl.List):
        inner = is_odd(pl.element(), _instance(kind.inner))
        return None if inner is None else value.list.eval(inner.fill_null(value=False)).list.any()
    if isinstance(kind, pl.Datetime):
        within = _micros(value).cast(pl.Int64).is_between(*_MICROS)
        return value.is_not_null() & ~within.fill_null(value=False)
    if isinstance(kind, pl.Date):
        return ~value.cast(pl.Int32).is_between(*_DAYS)
    return ~value.is_finite() if kind in {pl.Float32, pl.Float64} else None


def _any(found: Sequence[pl.Expr]) -> pl.Expr | None:
    return pl.any_horizontal([one.fill_null(value=False) for one in found]) if found else None
