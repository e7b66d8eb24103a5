"""Windows that are sessions: after every batch what plain Python says of all of silver."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_platform import gold
from analytics_platform.contract.model import Domain, Watermark
from analytics_platform.errors import MartBroken
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.rebuild import rebuild
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, SESSION_MARTS, START, VISITS, Shop, order

DOMAIN = shop.domain(marts=tuple(SESSION_MARTS))
YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
MINUTE, US = timedelta(minutes=1), timedelta(microseconds=1)


def sessions_of(times: Sequence[datetime], gap: timedelta) -> dict[datetime, datetime]:
    """When the session of each time began."""
    found: dict[datetime, datetime] = {}
    began = before = None
    for at in sorted(set(times)):
        if began is None or before is None or at - before > gap:
            began = at
        found[at], before = began, at
    return found


def expected(of: Shop) -> dict[str, Any]:
    """What the marts should hold, from silver alone."""
    placed, cancelled = of.silver("order_placed"), of.silver("order_cancelled")
    both: dict[str, list[tuple[datetime, bool]]] = defaultdict(list)
    for rows, is_order in ((placed, True), (cancelled, False)):
        for source, at in rows.select("source", "occurred_at").iter_rows():
            if source is not None:
                both[source].append((at, is_order))
    visits: dict[Any, list[tuple[datetime, bool]]] = defaultdict(list)
    for source, seen in both.items():
        began = sessions_of([at for at, _ in seen], 30 * MINUTE)
        for at, is_order in seen:
            visits[began[at], source].append((at, is_order))
    streaks: Counter[Any] = Counter()
    keyed: dict[Any, list[tuple[datetime, str]]] = defaultdict(list)
    for source, cents, at, product in placed.select("source", "cents", "placed_at", "product").iter_rows():
        if source is not None:
            keyed[source, cents].append((at, product))
    for (source, cents), bought in keyed.items():
        began = sessions_of([at for at, _ in bought], 60 * MINUTE)
        streaks.update((source, cents, began[at], product) for at, product in bought if product in {"mug", "pen"})
    found = {
        key: (max(at for at, _ in rows), sum(is_order for _, is_order in rows), sum(not one for _, one in rows))
        for key, rows in visits.items()
    }
    days: dict[Any, tuple[int, int]] = {}
    for (start, _), (_, orders, _) in found.items():
        day = (start - min(timedelta(hours=4), start - YEAR_1)).date()  # as in New York in summer
        known = days.get((day,), (0, 0))
        days[day,] = (known[0] + orders, known[1] + 1)
    all_of = {"visits": found, "streaks": {key: (count,) for key, count in streaks.items()}, "days_of_visits": days}
    return {mart.name: all_of[mart.name] for mart in of.domain.marts}


def standing(of: Shop) -> dict[str, Any]:
    """By the key of a row, what follows it."""
    found: dict[str, Any] = {}
    for mart in of.domain.marts:
        rows, key = of.gold(mart.name).rows(), len(mart.grain)
        found[mart.name] = {row[:key]: row[key:] for row in rows}
        assert len(found[mart.name]) == len(rows)
    return found


def event(at: datetime, number: int = 0, source: str | None = "a", name: str = "order_placed", **changes: Any) -> bytes:
    said = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return order(name, order_id=f"{number}", placed_at=said, occurred_at=said, source=source, **changes)


def drawn(seed: int, count: int) -> list[bytes]:
    """Events of few senders in no order, some twice; their distances are often the gap, exactly or by a hair."""
    chance, at, found = random.Random(seed), NOON, list[bytes]()
    for number in range(count):
        at += chance.choice([0, 1, 29, 30, 30, 31, 60, 61, 400]) * MINUTE * chance.choice([0, 1, 1])
        seen = at + chance.choice([0, 0, 0, 1, -1]) * US
        name = chance.choice(["order_placed", "order_placed", "order_cancelled"])
        more = {} if name != "order_placed" else {
            "product": chance.choice(["mug", "pen", "cup"]), "cents": chance.choice([5, 10])
        }  # fmt: skip
        found.append(event(seen, number, chance.choice(["a", "a", "b", None]), name, **more))
    chance.shuffle(found)
    return [value for value in found for _ in range(1 + (chance.random() < 0.1))]


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**16), size=st.sampled_from([1, 4, 11, 40]))
def test_after_every_batch(seed: int, size: int) -> None:
    values = drawn(seed, 20 if size == 1 else 50)
    with TemporaryDirectory() as folder:
        of = Shop(Path(folder) / "lake", {ORDERS: {0: values[::2], 1: values[1::2]}, VISITS: {}}, DOMAIN)
        for partition, sent in of.values[ORDERS].items():
            for start in range(0, len(sent), size):
                of.take(ORDERS, [OffsetRange(partition, start, min(start + size, len(sent)))])
                of.refresh()
                assert standing(of) == expected(of)


def grown(root: Path, values: Sequence[bytes], domain: Domain = DOMAIN, batches: Sequence[int] = ()) -> Shop:
    """A shop that took in all values, each by itself, or in batches that end at some offsets."""
    of = Shop(root / "lake", {ORDERS: {0: values}, VISITS: {}}, domain)
    start = 0
    for end in batches or range(1, len(values) + 1):
        of.take(ORDERS, [OffsetRange(0, start, end)])
        of.refresh()
        start = end
    return of


def visits(of: Shop) -> list[tuple[Any, ...]]:
    """Began, ended and orders, in minutes after noon."""
    rows = of.gold("visits").sort("source", "began").select("source", "began", "ended", "orders").iter_rows()
    return [(source, (began - NOON) / MINUTE, (ended - NOON) / MINUTE, orders) for source, began, ended, orders in rows]


def test_a_row_between_two_sessions_makes_them_one(tmp_path: Path) -> None:
    values = [
        event(NOON, 1),
        event(NOON + 50 * MINUTE, 2),
        event(NOON + 20 * MINUTE, 3, "b"),
        event(NOON + 25 * MINUTE, 4),
    ]
    of = grown(tmp_path, values, batches=[3, 4])
    assert visits(of) == [("a", 0, 50, 3), ("b", 20, 20, 1)]
    assert standing(of) == expected(of)


def test_a_gap_that_is_just_met_joins_and_a_microsecond_more_parts(tmp_path: Path) -> None:
    values = [event(NOON, 1), event(NOON + 30 * MINUTE, 2), event(NOON + 60 * MINUTE + US, 3)]
    of = grown(tmp_path, values)
    assert [row[3] for row in visits(of)] == [2, 1]
    assert standing(of) == expected(of)


def test_a_session_gets_an_earlier_start(tmp_path: Path) -> None:
    """Its old one goes, also from the day above where that was another."""
    midnight = datetime(2024, 7, 2, 4, tzinfo=UTC)
    of = grown(tmp_path, [event(midnight + MINUTE, 1), event(midnight - MINUTE, 2)])
    assert standing(of) == expected(of)
    assert {str(day): found for (day,), found in standing(of)["days_of_visits"].items()} == {"2024-07-01": (2, 1)}


def test_a_session_that_is_much_longer_than_the_gap(tmp_path: Path) -> None:
    """It is found whole from its middle."""
    around = [event(NOON + place * 29 * MINUTE, place) for place in (*range(200), *range(201, 400))]
    of = grown(tmp_path, [*around, event(NOON + 200 * 29 * MINUTE, 200)], batches=[100, 250, 399, 400])
    assert visits(of) == [("a", 0, 399 * 29, 400)]
    assert standing(of) == expected(of)


def test_rows_of_no_sender_are_of_no_session(tmp_path: Path) -> None:
    of = grown(tmp_path, [event(NOON, 1, None), event(NOON, 2), event(NOON, 3, None)])
    assert visits(of) == [("a", 0, 0, 1)]
    assert set(of.refresh().values()) == {None}


def test_a_batch_costs_the_sessions_it_touches_and_leaves_their_neighbours_as_they_are(tmp_path: Path) -> None:
    values = [event(NOON + place % 7 * US, place, f"s-{place}") for place in range(1000)]
    values += [event(NOON + MINUTE, place, f"s-{place}") for place in range(2000, 2003)]
    values += [event(NOON + MINUTE, place, f"s-{place}") for place in range(3)]
    of = Shop(tmp_path / "lake", {ORDERS: {0: values}, VISITS: {}}, DOMAIN)
    found = []
    for start, end in ((0, 1000), (1000, 1003), (1003, 1006)):
        of.take(ORDERS, [OffsetRange(0, start, end)])
        reports = of.refresh()
        found.append({name: report and report.windows for name, report in reports.items()})
        assert standing(of) == expected(of)
    assert [one["visits"] for one in found] == [1000, 3, 3]
    assert of.gold("visits").height == 1003
    assert of.gold("visits")["orders"].sum() == 1006


@pytest.mark.parametrize("at", [YEAR_1, datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)])
def test_a_row_at_the_end_of_the_calendar(tmp_path: Path, at: datetime) -> None:
    said = at.isoformat()
    odd = order(order_id="odd", placed_at=said, occurred_at=said, source="a")
    domain = shop.domain(marts=("visits", "streaks"))
    of = grown(tmp_path, [event(NOON, 1), odd, event(NOON + MINUTE, 2)], domain)
    assert standing(of) == expected(of)


def test_a_crash_after_silver_and_between_marts(tmp_path: Path) -> None:
    of = grown(tmp_path, [event(NOON, 1), event(NOON + 50 * MINUTE, 2), event(NOON + 25 * MINUTE, 3)], batches=[2])
    of.take(ORDERS, [OffsetRange(0, 2, 3)])
    logs = {ORDERS: (shop.log_of(ORDERS), [0])}
    for done in gold.refresh(of.lake, of.domain, logs):
        if done.mart.name == "visits":
            break
    of.refresh()
    assert standing(of) == expected(of)
    assert set(of.refresh().values()) == {None}


def test_a_session_parts_when_a_rebuild_takes_its_middle(tmp_path: Path) -> None:
    values = [event(NOON + place * 25 * MINUTE, place, cents=cents) for place, cents in enumerate((5, 50, 5))]
    of = grown(tmp_path, [*values, event(NOON, 9, "b", cents=5)])
    strict = of.under(shop.domain(marts=tuple(SESSION_MARTS), most_cents=9))
    rebuild(strict.domain, strict.settings, START, START + timedelta(hours=1), clock=strict.clock)
    assert visits(strict) == [("a", 0, 0, 1), ("a", 50, 50, 1), ("b", 0, 0, 1)]
    assert standing(strict) == expected(strict)
    versions = strict.versions()
    strict.refresh()
    assert strict.versions() == versions


def changed(sql: str) -> Domain:
    mart = next(mart for mart in DOMAIN.marts if mart.name == "visits")
    return replace(DOMAIN, marts=(replace(mart, sql=sql),))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("_session AS began", "date_trunc('hour', _session) AS began", "outside the windows its rows come from"),
        ("_session AS began", "occurred_at AS began", "at which no session of its source starts"),
        ("began, source,", "began, source || '!' AS source,", "at which no session of its source starts"),
    ],
)
def test_sql_that_returns_what_is_no_session(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    sql = SESSION_MARTS["visits"][2]
    of = grown(tmp_path, [event(NOON + MINUTE, 1)])
    other = of.under(changed(sql.replace(old, new)))
    other.values[ORDERS][0].append(event(NOON + 2 * MINUTE, 2))  # type: ignore[attr-defined]
    other.take(ORDERS, [OffsetRange(0, 1, 2)])
    with pytest.raises(MartBroken, match=f"returns a began {complaint}"):
        other.refresh()
    assert visits(of) == [("a", 1, 1, 1)]


def watched() -> Domain:
    """Orders and cancellations may come ten minutes late."""
    lateness = Watermark(10 * MINUTE, (), timedelta(days=1))
    return replace(DOMAIN, events=tuple(replace(item, watermark=lateness) for item in DOMAIN.events))


def statuses(of: Shop) -> list[tuple[Any, ...]]:
    rows = of.full("visits").sort("source", "began").select("source", "began", "_status", "_late_rows").iter_rows()
    return [(source, (began - NOON) / MINUTE, status, late) for source, began, status, late in rows]


def test_a_session_is_final_once_no_row_can_be_of_it_any_more(tmp_path: Path) -> None:
    def both(minutes: int, number: int, source: str) -> list[bytes]:
        """The watermark is that of both inputs."""
        at = NOON + minutes * MINUTE
        return [event(at, number, source), event(at, number, source, "order_cancelled")]

    # The watermark is 0, then exactly as far as the first session may grow, then a hair further.
    values = [*both(10, 1, "b"), event(NOON, 2), *both(40, 3, "b"), *both(41, 4, "b")]
    of = grown(tmp_path, values, watched(), batches=[3])
    assert statuses(of) == [("a", 0, "open", 0), ("b", 10, "open", 0)]
    of.take(ORDERS, [OffsetRange(0, 3, 5)])
    of.refresh()
    assert statuses(of) == [("a", 0, "open", 0), ("b", 10, "open", 0)]
    of.take(ORDERS, [OffsetRange(0, 5, 7)])
    of.refresh()
    assert statuses(of) == [("a", 0, "final", 0), ("b", 10, "open", 0)]


def test_rows_that_come_too_late_are_counted_and_restate_their_session(tmp_path: Path) -> None:
    values = [
        event(NOON, 1),
        event(NOON + 300 * MINUTE, 2, "b"),
        event(NOON + 300 * MINUTE, 2, "b", "order_cancelled"),
        event(NOON + MINUTE, 3),
        event(NOON - MINUTE, 4, "c"),
    ]
    of = grown(tmp_path, values, watched())
    assert statuses(of) == [("a", 0, "restated", 1), ("b", 300, "open", 0), ("c", -1, "restated", 1)]
    assert standing(of) == expected(of)
    whole = grown(tmp_path / "whole", values, watched(), batches=[3, 5])
    assert statuses(whole) == statuses(of)
    assert set(of.full("days_of_visits")["_status"]) == {"open"}


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**16), size=st.sampled_from([3, 11]))
def test_how_final_sessions_are_does_not_depend_on_how_they_grew(seed: int, size: int) -> None:
    """A mart that is computed from scratch says the same."""
    values = drawn(seed, 40)
    with TemporaryDirectory() as folder:
        ends = [*range(size, len(values), size), len(values)]
        of = grown(Path(folder), values, watched(), batches=ends)
        marts = tuple(replace(mart, header=replace(mart.header, digest="f" * 64)) for mart in of.domain.marts)
        before = {name: shop.ordered(of.full(name)) for name in SESSION_MARTS}
        again = of.under(replace(of.domain, marts=marts))
        assert None not in again.refresh().values()
        assert shop.same({name: shop.ordered(again.full(name)) for name in SESSION_MARTS}, before)
        assert pl.concat([rows.select("_status") for rows in before.values()]).height
