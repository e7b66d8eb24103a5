"""Windows that begin at fixed times, alone or overlapping: which ones rows fall into, and where each begins and ends. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from analytics_platform.contract.model import Window

_DAY = timedelta(days=1)
MOST_RANGES = 64
"""Touched windows are covered by no more ranges than this, so that predicates stay short however scattered rows are."""

_FIRST, _LAST = datetime(3, 1, 1, tzinfo=UTC), datetime(9997, 1, 1, tzinfo=UTC)
_MARGIN = timedelta(days=1)
"""No day of any zone is as far from its middle as this is from its own; windows are at most 366 days."""

_NONE = timedelta(0)

Span = tuple[datetime, datetime]
"""A half-open range of instants, UTC."""


def starts(times: pl.Series, window: Window, lookback: timedelta = _NONE) -> pl.Series:
    """The distinct starts (UTC) of the windows that some instants fall into, sorted; nulls fall into none.

    Days are cut in the window's own zone, so two of them a year have 23 and 25 hours. Of sessions it is the instants
    themselves: a row alone does not say when its session began. With a lookback also the windows that begin no later than
    that after an instant: these are the ones that `back` lets see it.
    """
    given = times.drop_nulls().clip(_FIRST, _LAST)
    if window.session is not None:
        return given.unique().sort()
    latest = given.to_frame("time").select(_latest(window, lookback)).unique().to_series()
    if lookback:
        latest = latest.explode().unique()
    if window.step < _DAY:
        before = [latest.dt.offset_by(f"-{_seconds(window, back)}") for back in range(1, window.overlap)]
        return pl.concat([latest, *before]).unique().sort()
    days = pl.concat([latest.dt.offset_by(f"-{back}d") for back in range(window.overlap)]).unique()
    zone = ZoneInfo(window.timezone)
    found = sorted({_begins(day, zone) for day in days.to_list()})
    return pl.Series(times.name, found, pl.Datetime("us", "UTC"))


def assigned(times: pl.Series, window: Window, lookback: timedelta = _NONE) -> pl.DataFrame:
    """Every window that each instant falls into, as `starts` has them: `place` of the instant in the series, and `start`."""
    given = pl.DataFrame({"time": times.clip(_FIRST, _LAST)}).with_row_index("place").drop_nulls()
    latest = given.select("place", latest=_latest(window, lookback))
    if lookback:
        latest = latest.explode("latest")
    last = pl.col("latest").dt
    if window.step < _DAY:
        befores = [last.offset_by(f"-{_seconds(window, back)}") for back in range(window.overlap)]
        return latest.select("place", start=pl.concat_list(befores)).explode("start").unique(maintain_order=True)
    befores = [last.offset_by(f"-{back}d") for back in range(window.overlap)]
    days = latest.select("place", day=pl.concat_list(befores)).explode("day").unique(maintain_order=True)
    return days.with_columns(start=begins(days["day"], window)).drop("day")


def _latest(window: Window, lookback: timedelta) -> pl.Expr:
    """The latest window of each `time`, as its start (UTC) or its day; with a lookback the list of it and those that follow."""
    until = (pl.col("time") + lookback).clip(upper_bound=_LAST)
    if window.step < _DAY:  # these are in UTC
        step = _seconds(window, 1)
        first, last = pl.col("time").dt.truncate(step), until.dt.truncate(step)
        return pl.datetime_ranges(first, last, step) if lookback else first
    first, last = (at.dt.convert_time_zone(window.timezone).dt.date() for at in (pl.col("time"), until))
    # Where clocks are put back over midnight, a day may end after the next one has begun.
    return pl.date_ranges(first, pl.max_horizontal(first, last)) if lookback else first


def begins(values: pl.Series, window: Window) -> pl.Series:
    """Values of a mart's window column as instants: where it holds dates, when these days begin in the window's zone.

    Null at the very ends of the calendar.
    """
    if values.dtype != pl.Date():
        return values
    zone = ZoneInfo(window.timezone)
    days = values.unique().drop_nulls()
    named = days.filter(days.is_between(_FIRST.date(), _LAST.date()))  # DuckDB and polars know more years than Python
    return _each(values, {day: _begins(day, zone) for day in named})


def ends(found: pl.Series, window: Window) -> pl.Series:
    """Where windows end that start at some instants; null where that is beyond the calendar."""
    if window.step < _DAY:
        return found.clip(upper_bound=_LAST) + window.size
    last = _LAST - timedelta(days=367)
    known = found.unique().drop_nulls()
    return _each(found, {start: None if start > last else _moved(start, window, window.overlap) for start in known})


def _each(values: pl.Series, instants: Mapping[Any, datetime | None]) -> pl.Series:
    """The instant that stands for each value."""
    kind = pl.Datetime("us", "UTC")
    if not instants:
        return pl.Series(values.name, [None] * len(values), kind)
    keys, found = pl.Series(list(instants), dtype=values.dtype), pl.Series(list(instants.values()), dtype=kind)
    return values.replace_strict(keys, found, default=None, return_dtype=kind)


def at_the_end(found: pl.Series) -> bool:
    """Whether some starts are so near to the first or the last year that there may be no name for where windows end."""
    return not found.is_empty() and not found.is_between(_FIRST + _MARGIN, _LAST - _MARGIN).all()


def ranges(found: pl.Series, window: Window) -> list[Span]:
    """Half-open ranges of starts: each holds exactly one of some windows' starts. Of windows that do not overlap, their whole."""
    if window.step < _DAY:
        return [(start, start + window.step) for start in found.to_list()]
    zone = ZoneInfo(window.timezone)
    # Not the day that begins with the instant but the one that it lies in: where a day is left out, two begin at once.
    return [(start, _begins(start.astimezone(zone).date() + _DAY, zone)) for start in found.to_list()]


def reads(covered: Sequence[Span], window: Window) -> list[Span]:
    """Where rows of the windows lie that start within some ranges: each reaches on to the end of its last window."""
    return [(start, _moved(end, window, window.overlap - 1)) for start, end in covered]


def back(spans: Sequence[Span], lookback: timedelta) -> list[Span]:
    """Where rows of an input with a lookback lie that some ranges of instants need."""
    return [(start - lookback, end) for start, end in spans]


def partial(covered: Sequence[Span], window: Window) -> list[Span]:
    """Where windows start that have some of their rows, or all, among those that `reads` names."""
    reach = window.overlap - 1
    return [(_moved(start, window, -reach), _moved(end, window, reach)) for start, end in covered]


def bounds(
    covered: Sequence[Span], timezone: str, kind: pl.DataType
) -> Sequence[tuple[datetime | date, datetime | date]]:
    """Ranges of instants as values of a column: where it holds dates, the days that begin within them in a zone."""
    if kind != pl.Date():
        return list(covered)
    return [(_day_from(start, timezone), _day_from(end, timezone)) for start, end in covered]


def _day_from(at: datetime, timezone: str) -> date:
    """The first day that begins at an instant or later."""
    zone = ZoneInfo(timezone)
    day = at.astimezone(zone).date()
    if _begins(day, zone) < at:
        return day + _DAY
    return day - _DAY if _begins(day - _DAY, zone) == at else day


def _begins(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a day: its first midnight where it has two, the end of the gap where it has none."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _moved(at: datetime, window: Window, steps: int) -> datetime:
    """An instant at which windows begin, moved by whole steps, on the calendar of the window's zone."""
    if not steps:
        return at
    if window.step < _DAY:
        return at + steps * window.step
    return _begins(_day_from(at, window.timezone) + steps * _DAY, ZoneInfo(window.timezone))


def _seconds(window: Window, count: int) -> str:
    return f"{int(window.step.total_seconds()) * count}s"
