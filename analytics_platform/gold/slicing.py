"""Where to cut the history of a mart's inputs, so that no piece holds more rows than memory should.

Pieces are whole windows: of a window that alone holds more, nothing can be cut off. File statistics say how far to look;
how many rows each window has is then counted in those files, in the one column that holds their time.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from analytics_platform import window
from analytics_platform.contract.model import MartContract, Window
from analytics_platform.contract.schema import INSTANT
from analytics_platform.gold.source import Sources
from analytics_platform.lake.files import Snapshot

_AHEAD = 4
"""Rows are counted in files that hold about so many times what a slice may: enough where files overlap in time."""

_UNNAMED = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Slice:
    """Some windows that follow each other, to be computed at once."""

    starts: window.Span | None
    """Where they start, half-open; None where no predicate can name them, at the ends of the calendar."""
    rows: int
    """Rows of all inputs in them; of windows that overlap, in the step that each begins with."""
    is_last: bool
    """Whether no input has rows behind it."""


@dataclass(frozen=True, slots=True)
class _Timed:
    """An input and the column by which its rows fall into windows."""

    snapshot: Snapshot
    column: str


def rows_in(sources: Sources) -> int:
    """How many rows the inputs hold that fall into windows, by their logs; reads none."""
    return sum(item.snapshot.rows for item in _timed(sources))


def next_slice(sources: Sources, mart: MartContract, until: datetime | None, most_rows: int) -> Slice | None:
    """The oldest windows that start at `until` or later, whose rows are not more than `most_rows`, or the very first.

    Args:
        sources: What the mart reads.
        mart: Whose windows.
        until: Where a window starts; None for the beginning of history.
        most_rows: Windows are taken as long as all inputs together have no more rows in them.

    Returns:
        None where no input has rows there.
    """
    inputs, cut = _timed(sources), mart.window
    horizon = _horizon(inputs, cut, until, _AHEAD * most_rows)
    counts = _counts(inputs, cut, until, horizon)
    if counts.is_empty() and horizon is not None:
        horizon, counts = None, _counts(inputs, cut, until, None)
    if counts.is_empty():
        return None
    taken = max(1, int((counts["rows"].cum_sum() <= most_rows).sum()))
    found, is_last = counts.head(taken), horizon is None and taken == counts.height
    starts, rows = found["start"], int(found["rows"].sum())
    if window.at_the_end(starts):
        return Slice(None, rows, is_last)
    first, last = starts[0], window.ranges(starts.tail(1), cut)[0]
    if is_last and cut.lookbacks:  # windows behind the last row see it from there
        seen = pl.Series([last[1] - timedelta(milliseconds=1)], dtype=INSTANT)
        last = window.ranges(window.starts(seen, cut, max(cut.lookbacks.values())).tail(1), cut)[0]
    if until is None:  # the first rows fall into windows that start before them, too
        first = window.partial([(first, last[1])], cut)[0][0]
    return Slice((until or first, last[1]), rows, is_last)


def _timed(sources: Sources) -> list[_Timed]:
    found = [_Timed(item.snapshot, item.time_field) for item in sources.silver]
    return found + [
        _Timed(item.snapshot, item.mart.window.column) for item in sources.marts if item.snapshot is not None
    ]


def _horizon(inputs: list[_Timed], cut: Window, until: datetime | None, rows: int) -> datetime | None:
    """Where a window starts before which the files that reach beyond `until` hold about so many rows; None if all do."""
    files = [pl.DataFrame(schema={"low": INSTANT, "rows": pl.Int64})]
    for item in inputs:
        near = _reaching(item, cut, until, None).files
        if not near.is_empty():
            low = pl.col(f"min.{item.column}") if f"min.{item.column}" in near.columns else pl.lit(None)
            files.append(near.select(low=low.cast(INSTANT), rows=pl.col("num_records").cast(pl.Int64)))
    ahead = pl.concat(files).sort("low", nulls_last=False)
    beyond = ahead.filter(pl.col("rows").cum_sum() > rows)["low"].drop_nulls()
    if beyond.is_empty():
        return None
    # The window that it lies in would not be counted whole.
    latest = window.starts(beyond.head(1), cut)[-1]
    return latest if until is None or latest > until else None


def _counts(inputs: list[_Timed], cut: Window, until: datetime | None, horizon: datetime | None) -> pl.DataFrame:
    """Rows by the latest window that each falls into: `start` (UTC, sorted) and `rows`; from `until` up to `horizon`."""
    parts = [pl.DataFrame(schema={"start": INSTANT, "rows": pl.Int64})]
    for item in inputs:
        near, column = _reaching(item, cut, until, horizon), pl.col(item.column)
        key = window.latest(column, near.schema[item.column], cut)
        times = near.scan().select(column).drop_nulls()
        if until is not None:
            times = times.filter(column >= _value(until, item, cut))
        if horizon is not None:
            times = times.filter(column < _value(horizon, item, cut))
        counted = times.group_by(start=key).agg(rows=pl.len().cast(pl.Int64)).collect(engine="streaming")
        # Days without a name are at the end of the calendar, or before its beginning: none of them can be cut off.
        starts = window.begins(counted["start"], cut).fill_null(_UNNAMED)
        parts.append(counted.with_columns(starts.alias("start")))
    counts = pl.concat(parts).group_by("start").agg(pl.col("rows").sum()).sort("start")
    return counts if until is None else counts.filter(pl.col("start") >= until)


def _reaching(item: _Timed, cut: Window, start: datetime | None, end: datetime | None) -> Snapshot:
    """The files that can hold times from `start` up to `end`."""
    files = item.snapshot.files
    low, high = f"min.{item.column}", f"max.{item.column}"
    if start is not None and high in files.columns:
        at = _value(start, item, cut)
        if isinstance(at, datetime):
            at -= timedelta(milliseconds=1)  # to which statistics are cut
        files = files.filter((pl.col(high) >= at) | pl.col(high).is_null())
    if end is not None and low in files.columns:
        files = files.filter((pl.col(low) < _value(end, item, cut)) | pl.col(low).is_null())
    return Snapshot(item.snapshot.schema, files)


def _value(at: datetime, item: _Timed, cut: Window) -> datetime | date:
    """An instant as a value of an input's column."""
    ((value, _),) = window.bounds([(at, at)], cut.timezone, item.snapshot.schema[item.column])
    return value
