"""Windows that begin at fixed times, alone or overlapping: which ones rows fall into, and where each begins and ends. Pure."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from analytics_platform.contract.model import Window

_DAY = timedelta(days=1)
MOST_RANGES = 64
"""Touched windows are covered by no more ranges than this, so that predicates stay short however scattered rows are."""

Span = tuple[datetime, datetime]
"""A half-open range of instants, UTC."""


def starts(times: pl.Series, window: Window) -> pl.Series:
    """The distinct starts (UTC) of the windows that some instants fall into, sorted; nulls fall into none.

    Days are cut in the window's own zone, so two of them a year have 23 and 25 hours.
    """
    local = times.drop_nulls().dt.convert_time_zone(window.timezone)
    latest = local.dt.truncate(_duration(window.step)).unique()
    found = [latest.dt.offset_by(f"-{_duration(window.step, back)}") for back in range(1, window.overlap)]
    return pl.concat([latest, *found]).dt.convert_time_zone("UTC").unique().sort()


def ranges(found: pl.Series, window: Window) -> list[Span]:
    """Half-open ranges of starts: each holds exactly one of some windows' starts. Of windows that do not overlap, their whole."""
    return list(zip(found.to_list(), _shifted(found, window, 1).to_list(), strict=True))


def reads(covered: Sequence[Span], window: Window) -> list[Span]:
    """Where rows of the windows lie that start within some ranges: each reaches on to the end of its last window."""
    if window.overlap == 1:
        return list(covered)
    ends = pl.Series([end for _, end in covered], dtype=pl.Datetime("us", "UTC"))
    return list(zip((start for start, _ in covered), _shifted(ends, window, window.overlap - 1).to_list(), strict=True))


def partial(covered: Sequence[Span], window: Window) -> list[Span]:
    """Where windows start that have some of their rows, or all, among those that `reads` names."""
    if window.overlap == 1:
        return list(covered)
    bounds = pl.DataFrame(
        covered, schema={"start": pl.Datetime("us", "UTC"), "end": pl.Datetime("us", "UTC")}, orient="row"
    )
    reach = window.overlap - 1
    first, last = _shifted(bounds["start"], window, -reach), _shifted(bounds["end"], window, reach)
    return list(zip(first.to_list(), last.to_list(), strict=True))


def bounds(
    covered: Sequence[Span], timezone: str, kind: pl.DataType
) -> Sequence[tuple[datetime | date, datetime | date]]:
    """Ranges of instants as values of a column: where it holds dates, the days that begin within them in a zone."""
    if kind != pl.Date():
        return list(covered)
    return [(_day_from(start, timezone), _day_from(end, timezone)) for start, end in covered]


def _day_from(at: datetime, timezone: str) -> date:
    """The first day that begins at an instant or later."""
    local = at.astimezone(ZoneInfo(timezone))
    begins = datetime.combine(local.date(), time(), local.tzinfo)
    return local.date() if begins.astimezone(UTC) >= at else local.date() + _DAY


def _shifted(found: pl.Series, window: Window, steps: int) -> pl.Series:
    """Instants moved by whole steps, on the calendar of the window's zone."""
    sign = "-" if steps < 0 else ""
    local = found.dt.convert_time_zone(window.timezone)
    return local.dt.offset_by(f"{sign}{_duration(window.step, abs(steps))}").dt.convert_time_zone("UTC")


def _duration(size: timedelta, count: int = 1) -> str:
    days, rest = divmod(size, _DAY)
    return f"{days * count}d" if days and not rest else f"{int(size.total_seconds()) * count}s"
