"""The Kafka key of a record, where a producer wants fields of the payload in it, so that what belongs together stays so."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import msgspec
import polars as pl

from analytics_platform.contract.arrow_text import plain
from analytics_platform.contract.compose_frame import ENVELOPE_TYPES, readable
from analytics_platform.contract.schema import INSTANT

_TEXTUAL = (pl.String, pl.Int64, pl.Date, INSTANT)
"""Types of which polars writes the same text as Python."""


def joined(payload: Mapping[str, object], names: Sequence[str]) -> bytes:
    """The values of these fields, joined by `-`; what a payload does not have is empty."""
    return "-".join(_key_part(payload.get(name, "")) for name in names).encode(errors="replace")


def joined_column(events: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    """The same of every row of a typed frame, see `FrameComposer.typed`."""
    own = [name for name in names if name in events.columns and name not in ENVELOPE_TYPES]
    if any(events.schema[name] not in _TEXTUAL for name in own):
        rows = readable(events.select(own), pl.int_range(events.height, eager=True))
        return pl.Series([joined(row, names) for row in rows], dtype=pl.Binary)
    parts = [
        plain(pl.col(name), events.schema[name]).cast(pl.String).fill_null("None") if name in own else pl.lit("")
        for name in names
    ]
    return events.with_row_index("_row").select(
        "_row", key=pl.concat_str(parts or [pl.lit("")], separator="-").cast(pl.Binary)
    )["key"]


def _key_part(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)  # one instant is one key, however it was given
    return str(msgspec.to_builtins(value) if isinstance(value, date) else value)
