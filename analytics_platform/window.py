"""Tumbling windows: which ones rows fall into, and where each begins and ends. Pure."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from analytics_platform.contract.model import Window

_DAY = timedelta(days=1)
MOST_RANGES = 64
"""Touched windows are covered by no more ranges than this, so that predicates stay short however scattered rows are."""


def starts(times: pl.Series, window: Window) -> pl.Series:
    """The distinct starts (UTC) of the windows that some instants fall into, sorted; nulls fall into none.

    Days are cut in the window's own zone, so two of them a year have 23 and 25 hours.
    """
    local = times.drop_nulls().dt.convert_time_zone(window.timezone)
    return local.dt.truncate(_duration(window.size)).dt.convert_time_zone("UTC").unique().sort()


def ranges(found: pl.Series, window: Window) -> list[tuple[datetime, datetime]]:
    """Half-open ranges (UTC) that hold exactly some windows, given their starts; touching windows become one range."""
    ends = found.dt.convert_time_zone(window.timezone).dt.offset_by(_duration(window.size)).dt.convert_time_zone("UTC")
    return list(zip(found.to_list(), ends.to_list(), strict=True))


def bounds(
    covered: Sequence[tuple[datetime, datetime]], window: Window, kind: pl.DataType
) -> Sequence[tuple[datetime | date, datetime | date]]:
    """The same ranges as values of the mart's window column: dates of the window's zone where the column is a date."""
    if kind != pl.Date():
        return list(covered)
    zone = ZoneInfo(window.timezone)
    return [(start.astimezone(zone).date(), end.astimezone(zone).date()) for start, end in covered]


def _duration(size: timedelta) -> str:
    days, rest = divmod(size, _DAY)
    return f"{days}d" if days and not rest else f"{int(size.total_seconds())}s"
