import itertools
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform import window
from analytics_platform.contract.model import Window

HOUR = timedelta(hours=1)


def of(size: timedelta, timezone: str = "UTC") -> Window:
    return Window("w", size, timezone, {})


def times(*instants: datetime | None) -> pl.Series:
    return pl.Series(instants, dtype=pl.Datetime("us", "UTC"))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]


def test_distinct_starts_in_order_and_nulls_in_none() -> None:
    found = window.starts(times(utc(2024, 1, 1, 5, 59), None, utc(2024, 1, 1, 1), utc(2024, 1, 1, 5)), of(HOUR))
    assert found.to_list() == [utc(2024, 1, 1, 1), utc(2024, 1, 1, 5)]
    assert window.starts(times(), of(HOUR)).to_list() == []


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        (utc(2024, 3, 10, 12), utc(2024, 3, 10, 5), utc(2024, 3, 11, 4)),
        (utc(2024, 11, 3, 12), utc(2024, 11, 3, 4), utc(2024, 11, 4, 5)),
        (utc(2024, 7, 1, 12), utc(2024, 7, 1, 4), utc(2024, 7, 2, 4)),
    ],
    ids=["23 hours", "25 hours", "24 hours"],
)
def test_days_of_new_york(day: datetime, start: datetime, end: datetime) -> None:
    days = of(timedelta(days=1), "America/New_York")
    starts = window.starts(times(start, day, end - timedelta(microseconds=1)), days)
    assert window.ranges(starts, days) == [(start, end)]
    local = date(day.year, day.month, day.day)
    assert window.bounds([(start, end)], days.timezone, pl.Date()) == [(local, local + timedelta(days=1))]


def test_bounds_of_a_timestamp_are_the_instants() -> None:
    spans = [(utc(2024, 1, 1), utc(2024, 1, 2))]
    assert window.bounds(spans, "UTC", pl.Datetime("us", "UTC")) == spans


@pytest.mark.parametrize(
    ("zone", "inside", "start", "end"),
    [
        ("Atlantic/Azores", utc(2024, 10, 27, 1, 30), utc(2024, 10, 27), utc(2024, 10, 28, 1)),
        ("America/Havana", utc(2024, 11, 3, 5, 30), utc(2024, 11, 3, 4), utc(2024, 11, 4, 5)),
        ("America/Havana", utc(2024, 3, 10, 6), utc(2024, 3, 10, 5), utc(2024, 3, 11, 4)),
        ("America/Santiago", utc(2024, 9, 8, 5), utc(2024, 9, 8, 4), utc(2024, 9, 9, 3)),
        ("Africa/Cairo", utc(2024, 4, 26, 5), utc(2024, 4, 25, 22), utc(2024, 4, 26, 21)),
    ],
    ids=["two midnights", "two midnights, west", "no midnight", "no midnight, south", "no midnight, east"],
)
def test_days_whose_midnight_comes_twice_or_not_at_all(
    zone: str, inside: datetime, start: datetime, end: datetime
) -> None:
    days = of(timedelta(days=1), zone)
    starts = window.starts(times(inside, start, end - timedelta(microseconds=1)), days)
    assert window.ranges(starts, days) == [(start, end)]
    local = inside.astimezone(ZoneInfo(zone)).date()
    assert window.bounds([(start, end)], zone, pl.Date()) == [(local, local + timedelta(days=1))]
    two = replace(days, size=timedelta(days=2), hop=timedelta(days=1))
    assert window.starts(times(inside), two)[1] == start
    assert window.reads([(start, end)], two)[0][0] == start
    ((first, last),) = window.bounds(window.partial([(start, end)], two), zone, pl.Date())
    assert (first, last) == (local - timedelta(days=1), local + timedelta(days=2))


def test_a_day_that_a_zone_left_out() -> None:
    """Samoa went from the 29th to the 31st of December 2011."""
    days = of(timedelta(days=1), "Pacific/Apia")
    starts = window.starts(times(utc(2011, 12, 30, 5), utc(2011, 12, 31, 5)), days)
    spans = window.ranges(starts, days)
    assert spans == [(utc(2011, 12, 29, 10), utc(2011, 12, 30, 10)), (utc(2011, 12, 30, 10), utc(2011, 12, 31, 10))]
    assert window.bounds(spans, days.timezone, pl.Date()) == [
        (date(2011, 12, 29), date(2011, 12, 30)), (date(2011, 12, 30), date(2012, 1, 1))
    ]  # fmt: skip


@pytest.mark.parametrize("at", [utc(1, 1, 1), utc(9999, 12, 31, 23, 59, 59, 999999)])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("size", [1, 366])
def test_the_first_and_the_last_instant_can_be_told_and_named(at: datetime, zone: str, size: int) -> None:
    days = Window("w", timedelta(days=size), zone, {}, timedelta(days=1) if size > 1 else None)
    assert window.at_the_end(window.starts(times(at, utc(2024, 1, 1)), days))
    assert not window.at_the_end(window.starts(times(utc(2024, 1, 1)), days))
    assert not window.at_the_end(window.starts(times(), days))


instants = st.integers(-10_000, 50_000).flatmap(
    lambda days: st.integers(0, 86_400_000_000 - 1).map(
        lambda part: utc(1970, 1, 1) + timedelta(days=days, microseconds=part)
    )
)
windows = st.one_of(
    st.sampled_from([60, 900, 3600, 6 * 3600]).map(lambda size: of(timedelta(seconds=size))),
    st.sampled_from(
        [
            "UTC",
            "America/New_York",
            "Europe/Berlin",
            "Asia/Kolkata",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "America/Havana",
            "Atlantic/Azores",
            "Africa/Cairo",
        ]
    ).map(lambda zone: of(timedelta(days=1), zone)),
)


@given(st.lists(instants, min_size=1, max_size=5), windows)
def test_every_instant_lies_in_exactly_one_window(items: list[datetime], tumbling: Window) -> None:
    starts = window.starts(times(*items), tumbling)
    spans = window.ranges(starts, tumbling)
    assert all(sum(start <= item < end for start, end in spans) == 1 for item in items)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert all(any(start <= item < end for item in items) for start, end in spans)


overlapping = st.one_of(
    st.tuples(st.sampled_from([900, 3600, 7200]), st.integers(2, 7)).map(
        lambda pair: Window("w", timedelta(seconds=pair[0] * pair[1]), "UTC", {}, timedelta(seconds=pair[0]))
    ),
    st.tuples(
        st.integers(2, 10),
        st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Atlantic/Azores", "America/Santiago"]),
    ).map(lambda pair: Window("w", timedelta(days=pair[0]), pair[1], {}, timedelta(days=1))),
)


@given(st.lists(instants, min_size=1, max_size=4), overlapping)
def test_every_instant_lies_in_as_many_windows_as_overlap(items: list[datetime], hopping: Window) -> None:
    """And what is read of the windows that start in some ranges is all of these, and of the ranges' neighbours a part."""
    starts = window.starts(times(*items), hopping)
    covered = window.ranges(starts, hopping)
    spans = [window.reads([one], hopping)[0] for one in covered]
    for item in items:
        assert sum(start <= item < end for start, end in spans) == hopping.overlap
    assert all(any(start <= item < end for item in items) for start, end in spans)
    outer = window.partial(covered, hopping)
    for (start, end), (first, last), read in zip(covered, outer, spans, strict=True):
        assert first < start < end < last
        # A window that ends where the reading starts, or begins where it ends, has no row of it.
        (before,) = window.reads([(first, start)], hopping)
        assert before[1] <= read[1]


@given(st.lists(instants, min_size=1, max_size=3), st.one_of(windows, overlapping), st.integers(1, 30 * 60))
def test_an_instant_that_is_seen_back_lies_in_the_windows_of_all_that_see_it(
    items: list[datetime], cut: Window, minutes: int
) -> None:
    lookback = timedelta(minutes=minutes) if cut.step >= HOUR else timedelta(minutes=minutes % 90 + 1)
    from_each = []
    for item in items:
        # No window is shorter than a minute, no day than 22 hours.
        count = lookback // timedelta(minutes=1) if cut.step < HOUR else lookback // timedelta(minutes=15)
        sees = [item + lookback * part / (count + 1) for part in range(count + 2)]
        from_each.append(window.starts(times(*sees), cut).to_list())
    assert window.starts(times(*items), cut, lookback).to_list() == sorted(set().union(*from_each))
    found = window.assigned(times(*items, None), cut, lookback)
    assert [
        sorted(found.filter(pl.col("place") == place)["start"]) for place in range(len(items))
    ] == from_each  # fmt: skip


def test_what_begins_when_the_lookback_ends_sees_it() -> None:
    at = times(utc(2024, 1, 1, 9))
    hours = [utc(2024, 1, 1, hour) for hour in (9, 10, 11, 12)]
    assert window.starts(at, of(HOUR), 3 * HOUR).to_list() == hours
    assert window.starts(at, of(HOUR), 3 * HOUR - timedelta(microseconds=1)).to_list() == hours[:3]
    assert window.back([(hours[3], hours[3] + HOUR)], 3 * HOUR) == [(hours[0], hours[3] + HOUR)]


@pytest.mark.parametrize("at", [utc(1, 1, 1), datetime.max.replace(tzinfo=UTC)])
def test_a_lookback_beyond_the_calendar(at: datetime) -> None:
    for cut in (of(HOUR), of(24 * HOUR, "Asia/Tokyo")):
        starts = window.starts(times(at), cut, 366 * 24 * HOUR)
        assert window.at_the_end(starts)
        assert window.assigned(times(at), cut, 366 * 24 * HOUR)["start"].to_list() == starts.to_list()


def test_bounds_of_days() -> None:
    spans = [(utc(2024, 3, 10, 5), utc(2024, 3, 11, 4))]
    assert window.bounds(spans, "America/New_York", pl.Date()) == [(date(2024, 3, 10), date(2024, 3, 11))]
    # A day that began before an instant is not among those that begin from it on.
    assert window.bounds([(utc(2024, 3, 10, 6), utc(2024, 3, 11, 5))], "America/New_York", pl.Date()) == [
        (date(2024, 3, 11), date(2024, 3, 12))
    ]
