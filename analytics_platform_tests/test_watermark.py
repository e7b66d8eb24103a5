"""Watermarks and how final rows are: after every batch what plain Python says of the rows in the order they came."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_platform import silver, watermark
from analytics_platform.contract.model import Domain, Watermark
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.files import Pinned
from analytics_platform.lateness import SCHEMA, lateness
from analytics_platform.rebuild import rebuild
from analytics_platform.replay import replay
from analytics_platform.selection import Selection
from analytics_platform_tests import shop
from analytics_platform_tests.shop import MORE_MARTS, ORDERS, START, Shop, feed, order

NAMES = ("sales_hourly", "sales_daily", *MORE_MARTS)
NEW_YORK = ZoneInfo("America/New_York")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GRACE = timedelta(hours=2)


def watched(*, keeps: bool = False, **marks: Watermark) -> Domain:
    """The shop with watermarks; days are final two hours late, since they are cut by `placed_at`."""
    of = shop.domain(marts=NAMES)
    events = tuple(replace(event, watermark=marks.get(event.name)) for event in of.events)
    marts = tuple(
        replace(mart, window=replace(mart.window, final_after=GRACE, keeps=keeps))
        if mart.name == "sales_daily"
        else mart
        for mart in of.marts
    )
    return replace(of, events=events, marts=marts)


def both(lateness: timedelta = 6 * HOUR, **more: Any) -> dict[str, Watermark]:
    return {name: Watermark(lateness, **more) for name in ("order_placed", "order_cancelled")}


@dataclass
class Told:
    """A row of silver, as a newcomer would note it down."""

    event: str
    occurred_at: datetime
    placed_at: datetime
    came: datetime
    met: datetime | None
    """The watermark when it came."""


@dataclass
class Diary:
    """What came when, and what the watermarks were: kept by hand, beside the platform."""

    of: Shop
    marks: Mapping[str, Watermark]
    rows: list[Told] = field(default_factory=list)
    known: set[tuple[str, str]] = field(default_factory=set)
    at: dict[str, datetime] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    since: datetime | None = None

    def note(self) -> None:
        """Write down what is new, and hold what silver says of it against that."""
        for event, mark in self.marks.items():
            new = [
                row
                for row in self.of.silver(event).iter_rows(named=True)
                if (event, row["idempotency_key"]) not in self.known
            ]
            met = self.at.get(event)
            for row in new:
                assert row["_watermark"] == met
                self.known.add((event, row["idempotency_key"]))
                self.rows.append(Told(event, row["occurred_at"], row["placed_at"], row["_ingested_at"], met))
                self.seen[event] = max(row["_ingested_at"], self.seen.get(event, row["_ingested_at"]))
                self.since = self.since or row["_ingested_at"]
            for row in new:
                high = min(row["occurred_at"], row["_ingested_at"]) - mark.lateness
                self.at[event] = max(high, self.at.get(event, high))

    def reached(self, events: list[str]) -> datetime | None:
        newest = max((self.seen[event] for event in events if event in self.seen), default=None)
        if newest is None or self.since is None:
            return None
        waited = {event: newest - self.seen.get(event, self.since) for event in events}
        found = [self.at.get(event) for event in events if waited[event] <= self.marks[event].idle_after]
        known = [one for one in found if one is not None]
        return min(known) if known and len(known) == len(found) else None


def day_of(at: datetime) -> date:
    return at.astimezone(NEW_YORK).date()


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


BOTH, PLACED = ["order_placed", "order_cancelled"], ["order_placed"]
CUTS: dict[str, tuple[list[str], Callable[[Told], list[Any]], Callable[[Any], datetime]]] = {
    # What it is made of, the windows of a row, and when a window is final.
    "sales_hourly": (BOTH, lambda row: [hour_of(row.occurred_at)], lambda start: start + HOUR),
    "sales_daily": (PLACED, lambda row: [day_of(row.placed_at)], lambda day: midnight(day + DAY) + GRACE),
    "six_hours": (
        PLACED,
        lambda row: [
            hour_of(row.occurred_at).replace(hour=row.occurred_at.hour // 2 * 2) - 2 * HOUR * back for back in range(3)
        ],
        lambda start: start + 6 * HOUR,
    ),
    "three_days": (
        PLACED,
        lambda row: [day_of(row.placed_at) - DAY * back for back in range(3)],
        lambda day: midnight(day + 3 * DAY),
    ),
    "days_of_hours": (BOTH, lambda row: [day_of(hour_of(row.occurred_at))], lambda day: midnight(day + DAY)),
    "all_days": (
        PLACED,
        lambda row: [day_of(row.placed_at) - DAY * back for back in range(4)],
        lambda day: midnight(day + 4 * DAY) + GRACE,
    ),
}


def expected(diary: Diary, name: str, ever: dict[str, datetime]) -> dict[Any, tuple[str, datetime | None, int]]:
    """What each window of a mart should say of itself."""
    events, windows, ends = CUTS[name]
    now = diary.reached(events)
    if now is not None:
        ever[name] = max(now, ever.get(name, now))
    late: dict[Any, list[datetime]] = defaultdict(list)
    for row in diary.rows:
        for start in windows(row) if row.event in events else []:
            late[start] += [max(row.came, row.met)] if row.met is not None and row.met >= ends(start) else []
    found = {}
    for start, came in late.items():
        if name not in ever or ends(start) > ever[name]:
            found[start] = ("open", None, len(came))
        else:
            found[start] = ("restated", max(came), len(came)) if came else ("final", None, 0)
    return found


def said(of: Shop, name: str) -> dict[Any, tuple[str, datetime | None, int]]:
    rows = of.full(name)
    column = next(mart.window.column for mart in of.domain.marts if mart.name == name)
    found = {
        row[0]: row[1:] for row in rows.select(column, "_status", "_restated_at", "_late_rows").unique().iter_rows()
    }
    assert len(found) == rows[column].n_unique(), "rows of one window say different things of it"
    return found


def batches(values: Mapping[str, Mapping[int, Any]], size: int) -> Iterator[tuple[str, OffsetRange]]:
    for topic in (ORDERS, shop.VISITS):
        for partition, sent in values[topic].items():
            for start in range(0, len(sent), size):
                yield topic, OffsetRange(partition, start, min(start + size, len(sent)))


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**16),
    size=st.sampled_from([3, 9, 25]),
    lateness=st.sampled_from([timedelta(0), 3 * HOUR, 2 * DAY]),
    idle=st.sampled_from([timedelta(seconds=1), timedelta(minutes=15)]),
)
def test_after_every_batch(seed: int, size: int, lateness: timedelta, idle: timedelta) -> None:
    marks = both(lateness, idle_after=idle)
    ever: dict[str, datetime] = {}
    statuses = set()
    with TemporaryDirectory() as folder:
        values = feed(seed, 45)
        of = Shop(Path(folder) / "lake", values, watched(**marks))
        diary = Diary(of, marks)
        for topic, part in batches(values, size):
            of.take(topic, [part])
            diary.note()
            of.refresh()
            for name in CUTS:
                assert said(of, name) == expected(diary, name, ever), name
                statuses |= {status for status, _, _ in said(of, name).values()}
    assert statuses >= {"open"}


def placed(at: str, number: int = 0, **changes: Any) -> bytes:
    return order(**({"order_id": f"o-{at}-{number}", "placed_at": at, "occurred_at": at} | changes))


JULY = [placed(f"2024-07-{day:02}T12:00:00Z") for day in range(1, 11)]
LATE = placed("2024-07-03T13:00:00Z", 1, cents=900)


def july(root: Path, *more: bytes, keeps: bool = False) -> Shop:
    """Ten days, one order each; orders may be two days late."""
    values = {ORDERS: {0: [*JULY, LATE, *more]}, shop.VISITS: {}}
    of = Shop(root / "lake", values, watched(keeps=keeps, order_placed=Watermark(2 * DAY)))
    for offset in range(10):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
    of.refresh()
    return of


def days(of: Shop, name: str = "sales_daily") -> dict[int, tuple[str, int, int]]:
    return {
        row["day"].day: (row["_status"], row["_late_rows"], row["cents"]) for row in of.full(name).iter_rows(named=True)
    }


def test_a_row_that_comes_after_its_day_is_final(tmp_path: Path) -> None:
    of = july(tmp_path)
    # The newest is of the 10th at noon, so all is final that ended by the 8th at noon, but for two hours.
    assert days(of) == {day: ("final" if day < 8 else "open", 0, 100) for day in range(1, 11)}
    taken = of.take(ORDERS, [OffsetRange(0, 10, 11)])
    assert taken.late == {"order_placed": 1}
    of.refresh()
    assert days(of)[3] == ("restated", 1, 1000)
    (restated_at,) = of.full("sales_daily").filter(pl.col("_status") == "restated")["_restated_at"]
    assert restated_at == of.now
    assert {day for day, (status, _, _) in days(of).items() if status == "restated"} == {3}
    assert days(of, "all_days")[3] == ("restated", 1, 1300)


def test_a_contract_that_keeps_its_final_days(tmp_path: Path) -> None:
    of = july(tmp_path, keeps=True)
    of.take(ORDERS, [OffsetRange(0, 10, 11)])
    of.refresh()
    assert days(of)[3] == ("final", 1, 100)
    assert of.silver("order_placed").height == 11
    assert days(of, "all_days")[3] == ("final", 0, 400)  # what never came into the days is no news to what reads them
    assert days(of, "three_days")[3][:2] == ("restated", 1)  # these restate, whatever their neighbours do
    changed = replace(
        of.domain, marts=tuple(replace(mart, header=replace(mart.header, digest="f" * 64)) for mart in of.domain.marts)
    )
    before = {name: shop.ordered(of.full(name)) for name in NAMES}
    other = of.under(changed)
    assert all(other.refresh().values())  # everything over again
    assert shop.same(before, {name: shop.ordered(other.full(name)) for name in NAMES})


def test_no_watermark_no_promise(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", {ORDERS: {0: JULY}, shop.VISITS: {}}, shop.domain())
    of.take(ORDERS, [OffsetRange(0, 0, 10)])
    of.refresh()
    assert "_watermark" not in of.silver("order_placed").columns
    found = of.full("sales_daily")
    assert (set(found["_status"]), set(found["_late_rows"]), found["_restated_at"].null_count()) == ({"open"}, {0}, 10)


def test_one_input_without_a_watermark(tmp_path: Path) -> None:
    of = july(tmp_path)  # order_cancelled has none
    assert set(of.full("sales_hourly")["_status"]) == {"open"}


def test_a_watermark_declared_later(tmp_path: Path) -> None:
    """What came before met none, so it was not late."""
    plain = Shop(tmp_path / "lake", {ORDERS: {0: [*JULY, LATE]}, shop.VISITS: {}}, shop.domain(marts=NAMES))
    plain.take(ORDERS, [OffsetRange(0, 0, 9)])
    plain.refresh()
    of = plain.under(watched(order_placed=Watermark(2 * DAY)))
    of.take(ORDERS, [OffsetRange(0, 9, 10)])
    of.take(ORDERS, [OffsetRange(0, 10, 11)])
    of.refresh()
    assert of.silver("order_placed")["_watermark"].null_count() == 10
    assert days(of)[3] == ("restated", 1, 1000)
    assert days(of)[4] == ("final", 0, 100)


def test_a_broken_clock_closes_nothing(tmp_path: Path) -> None:
    """An event from the future counts as one of the moment in which it came."""
    of = july(tmp_path, placed("2093-01-01T00:00:00Z"), placed(START.isoformat(), 5))
    of.take(ORDERS, [OffsetRange(0, 10, 12)])
    of.take(ORDERS, [OffsetRange(0, 12, 13)])
    rows = of.silver("order_placed").sort("_offset")
    assert rows["_watermark"][-1] == of.now - timedelta(seconds=1) - 2 * DAY
    assert rows["occurred_at"][-1] >= rows["_watermark"][-1]


def at_of(of: Shop, name: str = "order_placed") -> datetime | None:
    table = of.lake.newest(silver.spec(of.domain.versions_of(name)))
    assert table is not None
    return watermark.instant(Pinned(table).progress(watermark.AT))


def test_the_source_that_is_furthest_behind_counts(tmp_path: Path) -> None:
    def sold(day: int, source: str) -> bytes:
        return placed(f"2024-07-{day:02}T12:00:00Z", source=source)

    def noon(day: int) -> datetime:
        return datetime(2024, 7, day, 12, tzinfo=UTC)

    sent = [(1, "east"), (5, "west"), (3, "east"), (9, "west"), (8, "elsewhere"), (10, "west"), (4, "east")]
    values = {ORDERS: {0: [sold(*one) for one in sent]}, shop.VISITS: {}}
    mark = Watermark(timedelta(0), ("east", "west"), idle_after=timedelta(seconds=2))
    of = Shop(tmp_path / "lake", values, watched(order_placed=mark))
    found = []
    for offset in range(len(sent)):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
        found.append(at_of(of))
    # The west has not come; east; east; east; nobody moves for elsewhere; east is idle by now; and may not take back.
    assert found == [None, noon(1), noon(3), noon(3), noon(3), noon(10), noon(10)]
    assert of.silver("order_placed").sort("_offset")["_watermark"].to_list() == [None, *found[:-1]]


def test_a_type_that_is_silent_holds_nobody_back_for_long(tmp_path: Path) -> None:
    cancelled = order(
        "order_cancelled", order_id="c", placed_at="2024-07-01T12:00:00Z", occurred_at="2024-07-01T12:00:00Z"
    )
    marks = both(timedelta(0), idle_after=timedelta(seconds=3))
    of = Shop(tmp_path / "lake", {ORDERS: {0: [cancelled, *JULY]}, shop.VISITS: {}}, watched(**marks))
    final = []
    for offset in range(6):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
        of.refresh()
        final.append(of.full("sales_hourly").filter(pl.col("_status") == "final").height)
    # Up to three seconds later it is waited for: nothing after noon of the first is final.
    assert final == [0, 0, 0, 0, 3, 4]


def test_a_replayed_row_is_late_when_it_enters(tmp_path: Path) -> None:
    """It came in time and was kept back; the days that it changes were final meanwhile."""
    dear = placed("2024-07-04T12:00:00Z", 7, cents=200_000)
    values = {ORDERS: {0: [*JULY[:4], dear, *JULY[4:]]}, shop.VISITS: {}}
    strict = Shop(tmp_path / "lake", values, watched(order_placed=Watermark(2 * DAY)))
    for offset in range(11):
        strict.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
    strict.refresh()
    loose = shop.domain(marts=NAMES, most_cents=1_000_000)
    marked = watched(order_placed=Watermark(2 * DAY))
    events = tuple(
        replace(event, watermark=mine.watermark) for event, mine in zip(loose.events, marked.events, strict=True)
    )
    of = strict.under(replace(marked, events=events))
    assert replay(of.domain, of.settings, Selection(), clock=of.clock, by="me").replayed == 1
    assert days(of)[4] == ("restated", 1, 200_100)
    before = of.exact()
    rebuild(of.domain, of.settings, START, START + HOUR, clock=of.clock)
    assert shop.same(before, of.exact())  # it stays late, also when its hour is made again


def test_a_rebuild_remembers_what_rows_met(tmp_path: Path) -> None:
    of = july(tmp_path)
    of.take(ORDERS, [OffsetRange(0, 10, 11)])
    of.refresh()
    before = of.exact()
    report = rebuild(of.domain, of.settings, START, START + HOUR, clock=of.clock)
    assert not report.changed
    assert shop.same(before, of.exact())


def test_a_rebuild_finds_what_a_batch_met_by_the_one_before(tmp_path: Path) -> None:
    """Its only row was bad under the contract of its day, so no row of that batch says what it met."""
    dear = placed("2024-07-04T12:00:00Z", 7, cents=200_000)
    values = {ORDERS: {0: [*JULY, dear]}, shop.VISITS: {}}
    of = Shop(tmp_path / "lake", values, watched(order_placed=Watermark(2 * DAY)))
    for offset in range(11):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
    loose = shop.domain(marts=NAMES, most_cents=1_000_000)
    events = tuple(
        replace(event, watermark=mine.watermark) for event, mine in zip(loose.events, of.domain.events, strict=True)
    )
    of = of.under(replace(of.domain, events=events))
    rebuild(of.domain, of.settings, START, START + HOUR, clock=of.clock)
    rows = of.silver("order_placed").sort("_offset")
    assert rows.height == 11
    assert rows["_watermark"][10] == rows["_watermark"][9]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_partitions_in_a_batch_does_not_count(tmp_path: Path, seed: int) -> None:
    """All rows of a batch meet the same watermark."""
    chance = random.Random(seed)
    shuffled = chance.sample(JULY, 10)
    of = Shop(tmp_path / "lake", {ORDERS: {0: shuffled[:4], 1: shuffled[4:]}, shop.VISITS: {}}, watched(**both()))
    of.take(ORDERS, [OffsetRange(0, 0, 2), OffsetRange(1, 0, 3)])
    of.take(ORDERS, [OffsetRange(0, 2, 4), OffsetRange(1, 3, 6)])
    met = of.silver("order_placed").group_by("_ingested_at").agg(pl.col("_watermark").unique()).sort("_ingested_at")
    assert met["_watermark"].list.len().to_list() == [1, 1]
    newest = max(of.silver("order_placed").filter(pl.col("_watermark").is_null())["occurred_at"])
    assert met["_watermark"].list.first().to_list() == [None, newest - 6 * HOUR]


def test_who_is_late(tmp_path: Path) -> None:
    sent = [
        placed("2024-07-03T12:00:00Z", source="east"),
        placed("2024-07-01T12:00:00Z", source="west"),
        placed("2024-07-01T18:00:00Z", source="west"),
        placed("2024-07-03T10:00:00Z", source="east"),
    ]
    of = Shop(tmp_path / "lake", {ORDERS: {0: sent}, shop.VISITS: {}}, watched(order_placed=Watermark(DAY)))
    assert lateness(of.lake, of.domain).is_empty()
    for offset in range(4):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
    found = lateness(of.lake, of.domain)
    west = ("order_placed", "west", 2, 2, 21 * HOUR, 24 * HOUR, START + timedelta(seconds=3))
    assert found.rows() == [west, ("order_placed", "east", 2, 0, None, None, None)]
    assert found.schema == SCHEMA
    latest = lateness(of.lake, of.domain, since=START + timedelta(seconds=3))
    assert [row[1:4] for row in latest.rows()] == [("west", 1, 1), ("east", 1, 0)]
