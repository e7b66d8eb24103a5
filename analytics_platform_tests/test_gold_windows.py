"""Windows that overlap and marts that read marts: after every batch what plain Python says of all of silver."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_platform import gold
from analytics_platform.contract.model import Domain
from analytics_platform.errors import MartBroken
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.rebuild import rebuild
from analytics_platform_tests import shop
from analytics_platform_tests.shop import MORE_MARTS, ORDERS, START, Shop, feed, order

NAMES = ("sales_hourly", "sales_daily", *MORE_MARTS)
DOMAIN = shop.domain(marts=NAMES)
NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)


def day_of(at: datetime) -> date:
    return at.astimezone(NEW_YORK).date()


def counted(
    rows: list[tuple[datetime, int]], starts: Callable[[datetime], list[Any]], worth: Callable[[list[int]], float] = sum
) -> dict[Any, tuple[int, int]]:
    """Orders and cents by window, each row counted in every window that it falls into."""
    found = defaultdict[Any, list[int]](list)
    for at, cents in rows:
        for start in starts(at):
            found[start].append(cents)
    return {start: (len(cents), round(worth(cents))) for start, cents in found.items()}


def expected(of: Shop) -> dict[str, dict[Any, tuple[int, int]]]:
    """What the five marts should hold, from silver alone."""
    placed = of.silver("order_placed")
    by_placed = list(placed.select("placed_at", "cents").iter_rows())
    by_occurred = list(placed.select("occurred_at", "cents").iter_rows())

    def six(at: datetime) -> list[datetime]:
        latest = at.replace(hour=at.hour // 2 * 2, minute=0, second=0, microsecond=0)
        return [latest - timedelta(hours=2 * back) for back in range(3)]

    days = counted(by_placed, lambda at: [day_of(at) - DAY * back for back in range(4)])
    # Hours without an order, but with a cancellation, make a day too.
    hours = {day_of(at): (0, 0) for at in of.silver("order_cancelled")["occurred_at"]}
    ordered = counted(by_occurred, lambda at: [day_of(at.replace(minute=0, second=0, microsecond=0))])
    return {
        "three_days": counted(
            by_placed,
            lambda at: [day_of(at) - DAY * back for back in range(3)],
            lambda cents: round_half_even(median(cents)),
        ),
        "six_hours": counted(by_occurred, six),
        "days_of_hours": {day: (orders, 0) for day, (orders, _) in (hours | ordered).items()},
        "all_days": days,
        "best_days": {day: found for day, found in days.items() if found[0] >= 3},
    }


def round_half_even(value: float) -> int:
    """As DuckDB casts a double to an integer."""
    return round(value)


def standing(of: Shop) -> dict[str, dict[Any, tuple[int, int]]]:
    return {name: {start: (orders, cents) for start, orders, cents in of.gold(name).iter_rows()} for name in MORE_MARTS}


def test_marts_come_after_those_that_they_read() -> None:
    names = [mart.name for mart in DOMAIN.marts]
    assert names == [
        "sales_daily", "sales_hourly", "six_hours", "three_days", "all_days", "days_of_hours", "best_days"
    ]  # fmt: skip
    assert {mart.name: mart.gold_inputs for mart in DOMAIN.marts if mart.gold_inputs} == {
        "all_days": ("sales_daily",),
        "days_of_hours": ("sales_hourly",),
        "best_days": ("all_days",),
    }


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**16), size=st.sampled_from([4, 11, 40]))
def test_after_every_batch(seed: int, size: int) -> None:
    with TemporaryDirectory() as folder:
        values = feed(seed, 50)
        of = Shop(Path(folder) / "lake", values, DOMAIN)
        for topic in of.domain.topics:
            for partition, sent in values[topic].items():
                for start in range(0, len(sent), size):
                    of.take(topic, [OffsetRange(partition, start, min(start + size, len(sent)))])
                    of.refresh()
                    assert standing(of) == expected(of)


def placed(at: str, number: int = 0, cents: int = 10) -> bytes:
    return order(order_id=f"o-{at}-{number}", placed_at=at, occurred_at=at, cents=cents)


DAYS = [placed(f"2024-07-{day:02}T12:00:00Z") for day in range(1, 31)]
LATE = placed("2024-07-10T13:00:00Z", 1)


@pytest.fixture
def july(tmp_path: Path) -> Shop:
    of = Shop(tmp_path / "lake", {ORDERS: {0: [*DAYS, LATE]}, shop.VISITS: {}}, DOMAIN)
    of.take(ORDERS, [OffsetRange(0, 0, 30)])
    of.refresh()
    return of


def test_a_late_row_costs_the_windows_that_it_falls_into_and_no_others(july: Shop) -> None:
    july.take(ORDERS, [OffsetRange(0, 30, 31)])
    found = july.refresh()
    assert {name: report and report.windows for name, report in found.items()} == {
        "sales_daily": 1, "sales_hourly": 1, "six_hours": 3, "three_days": 3,
        "all_days": 4, "days_of_hours": 1, "best_days": 4,
    }  # fmt: skip
    assert standing(july) == expected(july)
    assert set(july.refresh().values()) == {None}


def test_a_crash_between_a_mart_and_the_one_above(july: Shop) -> None:
    """The one above starts over, since nobody can tell it any more which windows changed."""
    july.take(ORDERS, [OffsetRange(0, 30, 31)])
    logs = {ORDERS: (shop.log_of(ORDERS), [0])}
    for done in gold.refresh(july.lake, july.domain, logs):
        if done.mart.name == "sales_hourly":
            break  # died here: daily and hourly are new
    found = july.refresh()
    assert (found["sales_daily"], found["sales_hourly"]) == (None, None)
    assert found["days_of_hours"] is not None
    assert found["days_of_hours"].windows == 30
    assert standing(july) == expected(july)


def test_a_mart_below_is_broken_for_a_while(july: Shop) -> None:
    """What reads it stands still with it, and starts over or goes on with it."""
    broken = shop.domain(marts=NAMES, hourly=shop.HOURLY_SQL.replace("sum(placed)", "-sum(placed)"))
    july.take(ORDERS, [OffsetRange(0, 30, 31)])
    other = july.under(broken)
    with pytest.raises(MartBroken):
        other.refresh()
    assert other.gold("days_of_hours")["orders"].sum() == 30
    assert standing(other)["three_days"] == expected(other)["three_days"]
    july.refresh()
    assert standing(july) == expected(july)


def test_rows_that_leave_silver_leave_the_marts_above_too(july: Shop) -> None:
    strict = july.under(shop.domain(marts=NAMES, most_cents=9))
    rebuild(strict.domain, strict.settings, START, START + timedelta(hours=1), clock=strict.clock)
    assert strict.silver("order_placed").is_empty()
    assert {name: strict.gold(name).height for name in NAMES} == dict.fromkeys(NAMES, 0)
    assert standing(strict) == expected(strict)


def test_a_start_at_which_no_window_begins(tmp_path: Path) -> None:
    fields, window, sql = MORE_MARTS["six_hours"]
    wrong = sql.replace("SELECT hour,", "SELECT hour + INTERVAL 1 MINUTE AS hour,").replace(
        "GROUP BY hour", "GROUP BY 1"
    )
    MORE_MARTS["askew"] = (fields, window, wrong)
    try:
        askew = shop.domain(marts=("askew",))
    finally:
        del MORE_MARTS["askew"]
    of = Shop(tmp_path / "lake", {ORDERS: {0: DAYS}, shop.VISITS: {}}, askew)
    of.take(ORDERS, [OffsetRange(0, 0, 30)])
    with pytest.raises(MartBroken, match="returns a hour at which no window starts"):
        of.refresh()


def test_days_of_23_and_25_hours(tmp_path: Path) -> None:
    values = [
        placed(f"2024-{month}-{day:02}T{hour:02}:30:00Z")
        for month, day in (("03", 10), ("11", 3))
        for hour in range(24)
    ]
    of = Shop(tmp_path / "lake", {ORDERS: {0: values}, shop.VISITS: {}}, DOMAIN)
    for offset in range(0, 48, 5):
        of.take(ORDERS, [OffsetRange(0, offset, min(offset + 5, 48))])
        of.refresh()
        assert standing(of) == expected(of)
    found = standing(of)["days_of_hours"]
    assert {day: orders for day, (orders, _) in found.items()} == {
        date(2024, 3, 9): 5, date(2024, 3, 10): 19, date(2024, 11, 2): 4, date(2024, 11, 3): 20
    }  # fmt: skip
    assert of.gold("six_hours")["hour"].min() == datetime(2024, 3, 9, 20, tzinfo=UTC)


def zoned(zone: str) -> Domain:
    """The shop, its days in another zone."""
    marts = (
        replace(mart, window=replace(mart.window, timezone=zone), sql=mart.sql.replace("America/New_York", zone))
        if mart.window.timezone == "America/New_York"
        else mart
        for mart in DOMAIN.marts
    )
    return replace(DOMAIN, marts=tuple(marts))


@pytest.mark.parametrize(
    ("zone", "night"),
    [
        ("Atlantic/Azores", "2024-10-27T00"),
        ("Atlantic/Azores", "2024-03-31T00"),
        ("America/Havana", "2024-11-03T04"),
        ("America/Santiago", "2024-09-08T03"),
        ("Africa/Cairo", "2024-04-25T21"),
        ("Pacific/Apia", "2011-12-30T09"),
    ],
)
def test_nights_without_a_midnight_and_with_two(tmp_path: Path, zone: str, night: str) -> None:
    middle = datetime.fromisoformat(f"{night}:30:00+00:00")
    hours = [0, 48, 2, 24, -24, 1, 26, -1, -2, 3, 23, 25, 22, 0]
    values = [
        placed((middle + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ"), place)
        for place, hour in enumerate(hours)
    ]
    of = Shop(tmp_path / "lake", {ORDERS: {0: values}, shop.VISITS: {}}, zoned(zone))
    for offset in range(len(values)):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
        of.refresh()
    grown = {name: shop.ordered(of.gold(name)) for name in NAMES}
    whole = Shop(tmp_path / "other", {ORDERS: {0: values}, shop.VISITS: {}}, zoned(zone))
    whole.take(ORDERS, [OffsetRange(0, 0, len(values))])
    whole.refresh()
    assert shop.same(grown, {name: shop.ordered(whole.gold(name)) for name in NAMES})
    days = counted(
        list(of.silver("order_placed").select("placed_at", "cents").iter_rows()),
        lambda at: [at.astimezone(ZoneInfo(zone)).date()],
    )
    assert {
        day: (orders, cents) for day, orders, cents in of.gold("sales_daily").drop("product", "title").iter_rows()
    } == days


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_a_row_at_the_end_of_the_calendar(tmp_path: Path, at: str) -> None:
    """It is valid, so it counts, and it holds up no other."""
    of = Shop(tmp_path / "lake", {ORDERS: {0: [DAYS[0], placed(at), LATE]}, shop.VISITS: {}}, DOMAIN)
    for offset in range(3):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
        of.refresh()
    assert {name: of.gold(name)["orders"].sum() for name in MORE_MARTS} == {
        "three_days": 9, "six_hours": 9, "days_of_hours": 3, "all_days": 12, "best_days": 0
    }  # fmt: skip


def test_window_column_is_pinned_to_the_zone() -> None:
    kinds = {mart.name: pl.Schema(gold.spec(mart).schema)[mart.window.column] for mart in DOMAIN.marts}
    assert {name for name, kind in kinds.items() if kind == pl.Date()} == {
        "sales_daily", "three_days", "days_of_hours", "all_days", "best_days"
    }  # fmt: skip
