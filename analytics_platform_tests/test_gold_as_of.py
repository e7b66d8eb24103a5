"""Inputs that windows see from before they begin: after every batch what plain Python says of all of silver."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_platform.contract.model import Watermark
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.rebuild import rebuild
from analytics_platform_tests import shop
from analytics_platform_tests.shop import AS_OF, ORDERS, START, VISITS, Shop, feed, order

DOMAIN = shop.domain(marts=tuple(AS_OF))
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NEW_YORK = ZoneInfo("America/New_York")


def hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def six_of(at: datetime) -> list[datetime]:
    latest = hour_of(at) - at.hour % 2 * HOUR
    return [latest - 2 * HOUR * back for back in range(3)]


def expected(of: Shop) -> dict[str, dict[Any, tuple[int, int]]]:
    """What the three marts should hold, from silver alone."""
    placed = list(of.silver("order_placed").select("occurred_at", "cents").iter_rows())
    gone = of.silver("order_cancelled")["occurred_at"].to_list()

    def counted(starts: Any, lookback: timedelta) -> dict[Any, tuple[int, int]]:
        found = defaultdict[Any, list[int]](list)
        for at in gone:
            _, cents = max(((then, cents) for then, cents in placed if at - lookback <= then <= at), default=(at, 0))
            for start in starts(at):
                found[start].append(cents)
        return {start: (len(cents), sum(cents)) for start, cents in found.items()}

    return {
        "hours_as_of": counted(lambda at: [hour_of(at)], 3 * HOUR),
        "six_hours_as_of": counted(six_of, 150 * MINUTE),
        "days_as_of": counted(lambda at: [at.astimezone(NEW_YORK).date()], 30 * HOUR),
    }


def standing(of: Shop) -> dict[str, dict[Any, tuple[int, int]]]:
    return {name: {start: (orders, cents) for start, orders, cents in of.gold(name).iter_rows()} for name in AS_OF}


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**16), size=st.sampled_from([3, 7, 30]))
def test_after_every_batch(seed: int, size: int) -> None:
    with TemporaryDirectory() as folder:
        values = feed(seed, 60)
        of = Shop(Path(folder) / "lake", values, DOMAIN)
        for partition, sent in values[ORDERS].items():
            for start in range(0, len(sent), size):
                of.take(ORDERS, [OffsetRange(partition, start, min(start + size, len(sent)))])
                of.refresh()
                assert standing(of) == expected(of)


def at(clock: str, name: str = "order_placed", **more: Any) -> bytes:
    """An order placed or cancelled on the first of July."""
    instant = f"2024-07-01T{clock}Z"
    return order(name, order_id=f"o-{name}-{clock}", placed_at=instant, occurred_at=instant, **more)


CANCELS = [at(f"{hour:02}:00:00", "order_cancelled") for hour in range(6, 18)]


def taken(root: Path, *batches: list[bytes], domain: Any = DOMAIN) -> Shop:
    """A shop that took some batches, the marts after each."""
    values = [value for batch in batches for value in batch]
    of, start = Shop(root / "lake", {ORDERS: {0: values}, VISITS: {}}, domain), 0
    for batch in batches:
        of.take(ORDERS, [OffsetRange(0, start, start + len(batch))])
        of.refresh()
        start += len(batch)
    return of


def test_a_late_observation_changes_windows_after_its_own(tmp_path: Path) -> None:
    of = taken(tmp_path, CANCELS, [at("09:00:00", cents=7)])
    assert [cents for _, (_, cents) in sorted(standing(of)["hours_as_of"].items())] == [0, 0, 0, 7, 7, 7, 7, *[0] * 5]
    assert standing(of) == expected(of)


def test_a_late_observation_costs_the_windows_that_see_it_and_no_others(tmp_path: Path) -> None:
    of = taken(tmp_path, [*CANCELS, at("09:30:00", cents=7)])
    assert of.refresh() == dict.fromkeys(AS_OF)
    later = [*of.values[ORDERS][0], at("09:40:00", cents=8)]
    more = replace(of, values={ORDERS: {0: later}, VISITS: {}})
    more.take(ORDERS, [OffsetRange(0, 13, 14)])
    found = more.refresh()
    # From 09:40 to 12:40; windows of six hours, one every two, begin from 04:00 to 12:00; days until 15:40 the next day.
    assert {name: report and report.windows for name, report in found.items()} == {
        "days_as_of": 2, "hours_as_of": 4, "six_hours_as_of": 5
    }  # fmt: skip
    assert standing(more) == expected(more)


def test_a_late_departure_finds_what_was_observed_before_its_window(tmp_path: Path) -> None:
    of = taken(tmp_path, [at("09:59:00", cents=7)], [at("10:00:00", "order_cancelled")])
    assert [cents for found in standing(of).values() for _, cents in found.values()] == [7] * 5


def test_what_is_left_of_silver_after_a_rebuild(tmp_path: Path) -> None:
    dear, cheap = at("09:30:00", cents=9_000), at("09:00:00", cents=7)
    of = taken(tmp_path, [*CANCELS, cheap, dear])
    strict = of.under(shop.domain(marts=tuple(AS_OF), most_cents=100))
    rebuild(strict.domain, strict.settings, START, START + HOUR, clock=strict.clock)
    assert strict.silver("order_placed").height == 1
    assert standing(strict)["days_as_of"] == {date(2024, 7, 1): (12, 9 * 7)}
    assert standing(strict) == expected(strict)


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_an_observation_at_the_end_of_the_calendar(tmp_path: Path, when: str) -> None:
    """It is valid, so it counts, and it holds up no other."""
    odd = [
        order(name, order_id="o-odd", placed_at=when, occurred_at=when, **cents)
        for name, cents in (("order_placed", {"cents": 5}), ("order_cancelled", {}))
    ]
    of = taken(tmp_path, CANCELS, odd[:1], odd[1:], [at("09:30:00", cents=7)])
    assert {name: of.gold(name)["cents"].sum() for name in AS_OF} == {
        "hours_as_of": 3 * 7 + 5, "six_hours_as_of": 3 * (3 * 7 + 5), "days_as_of": 8 * 7 + 5
    }  # fmt: skip


def test_an_observation_may_be_late_for_one_window_and_in_time_for_the_next(tmp_path: Path) -> None:
    mark = Watermark(timedelta(0))
    events = tuple(replace(event, watermark=mark) for event in DOMAIN.events)
    watched = replace(DOMAIN, events=events)
    of = taken(tmp_path, [*CANCELS, at("10:30:00", cents=5)], [at("09:30:00", cents=7)], domain=watched)
    found = of.full("hours_as_of").sort("hour").select("hour", "_status", "_late_rows", "cents").rows()
    assert {hour.hour: (status, late, cents) for hour, status, late, cents in found} == {
        **dict.fromkeys((6, 7, 8), ("final", 0, 0)),
        9: ("restated", 1, 0),
        10: ("open", 0, 7),
        **dict.fromkeys((11, 12, 13), ("open", 0, 5)),
        **dict.fromkeys((14, 15, 16, 17), ("open", 0, 0)),
    }
