"""Messages become the raw frame: the columns every bronze table begins with. Pure; no broker is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import polars as pl
import pyarrow as pa
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message

from analytics_platform.kafka.offsets import OffsetRange

TIMESTAMP_TYPES = {TIMESTAMP_CREATE_TIME: "create", TIMESTAMP_LOG_APPEND_TIME: "append"}

UNREADABLE: tuple[str, bytes | None] = ("\N{REPLACEMENT CHARACTER}", None)
"""Stands for headers that the client cannot decode."""

RAW_SCHEMA = pl.Schema(
    {
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "kafka_timestamp": pl.Datetime("us", "UTC"),
        "timestamp_type": pl.String(),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "value_bytes": pl.Int64(),
        "headers": pl.List(pl.Struct({"name": pl.String(), "value": pl.Binary()})),
    }
)
"""One row per record, in the order of partition and offset.

`kafka_timestamp` and `timestamp_type` ("create" by the producer, "append" by the broker) are null when the record has
none; `value` may be cut, `value_bytes` is its true length; both are null for a tombstone; `headers` is null when there
are none.
"""

# Years 1 to 9999 in milliseconds: producers may send any 64-bit number, and what Python cannot show is no timestamp.
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class RawBatch:
    """What one read brought."""

    frame: pl.DataFrame
    """`RAW_SCHEMA`, by partition and offset."""
    ranges: tuple[OffsetRange, ...]
    """What the frame covers: the planned starts, ends at or before the planned ends. Never an empty range."""
    size_bytes: int
    """Keys, values and headers as they came, before any value was cut."""


def raw_frame(messages: Sequence[Message], max_value_bytes: int) -> pl.DataFrame:
    """The messages as `RAW_SCHEMA`, in the order given.

    Args:
        messages: Records, none of them an error or an end of a partition.
        max_value_bytes: Longer values are cut to this length.
    """
    stamps = list(map(Message.timestamp, messages))
    # Unbound methods under `map` cost half of what calls in a comprehension do.
    value = pl.from_arrow(pa.array(map(Message.value, messages), pa.binary_view()))
    assert isinstance(value, pl.Series)  # noqa: S101  an array is a series
    return pl.DataFrame(
        {
            "partition": pl.Series(list(map(Message.partition, messages)), dtype=pl.Int32),
            "offset": pl.Series(list(map(Message.offset, messages)), dtype=pl.Int64),
            "kind": pl.Series([kind for kind, _ in stamps], dtype=pl.Int32),
            "ms": pl.Series([ms for _, ms in stamps], dtype=pl.Int64),
            "key": pl.from_arrow(pa.array(map(Message.key, messages), pa.binary_view())),
            "value": value,
            "headers": _headers(headers_of(messages)),
        }
    ).select(
        "partition",
        "offset",
        pl.when(pl.col("kind").is_in(list(TIMESTAMP_TYPES)) & pl.col("ms").is_between(_FIRST_MS, _LAST_MS))
        .then(pl.col("ms"))
        .cast(pl.Datetime("ms", "UTC"))
        .dt.cast_time_unit("us")
        .alias("kafka_timestamp"),
        pl.col("kind").replace_strict(TIMESTAMP_TYPES, default=None, return_dtype=pl.String).alias("timestamp_type"),
        "key",
        pl.col("value").bin.head(max_value_bytes) if _any_longer(value, max_value_bytes) else pl.col("value"),
        pl.col("value").bin.size("b").cast(pl.Int64).alias("value_bytes"),
        "headers",
    )


def _any_longer(value: pl.Series, max_value_bytes: int) -> bool:
    longest = value.bin.size("b").max()
    return isinstance(longest, int) and longest > max_value_bytes


def headers_of(messages: Sequence[Message]) -> list[Any]:
    """The headers of each message: a list of pairs or None.

    A name that is not UTF-8 makes the client withhold all headers of that record: `UNREADABLE` stands for them.
    """
    found: list[Any] = []
    remaining = iter(messages)
    while len(found) < len(messages):
        try:
            # Not `message.headers()`: confluent_kafka 2.16 hands back such headers with an exception pending, which only
            # a call through `map` notices at once. Called twice on one message it crashes the process, since the name is
            # a hole by then; so the message gets other headers. Drop both when it decodes such names.
            found.extend(map(Message.headers, remaining))
        except (SystemError, UnicodeDecodeError):
            messages[len(found)].set_headers([UNREADABLE])
            found.append([UNREADABLE])
    return found


def _headers(headers: Sequence[Any]) -> pl.Series:
    # A list of pairs or None each; most topics have none at all.
    if not any(headers):
        return pl.Series([None], dtype=RAW_SCHEMA["headers"]).new_from_index(0, len(headers))
    ends = list(accumulate((len(each or ()) for each in headers), initial=0))
    flat = [header for each in headers if each for header in each]
    pairs = pa.StructArray.from_arrays(
        [
            pa.array([name for name, _ in flat], pa.string_view()),
            pa.array([value for _, value in flat], pa.binary_view()),
        ],
        names=["name", "value"],
    )
    lists = pa.LargeListArray.from_arrays(
        pa.array(ends, pa.int64()), pairs, mask=pa.array([not each for each in headers], pa.bool_())
    )
    series = pl.from_arrow(lists)
    assert isinstance(series, pl.Series)  # noqa: S101  an array is a series
    return series
