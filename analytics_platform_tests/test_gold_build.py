"""Marts built from all history in slices: beside their table, while the stream goes on, whoever dies in between."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analytics_platform import gold, silver
from analytics_platform.contract.model import Domain
from analytics_platform.gold import build, rows, source
from analytics_platform.gold.slicing import next_slice
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake import commit as commit_module
from analytics_platform.lake.erase import sweep
from analytics_platform.lake.listing import table_names
from analytics_platform.lake.table import Lake
from analytics_platform.reference import load_reference
from analytics_platform.report import BuildReport
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, Shop, feed, log_of, order

ALL = ("sales_hourly", "sales_daily", *shop.MORE_MARTS)
DOMAIN = shop.domain(marts=ALL)
FEW = shop.domain(marts=("sales_hourly", "sales_daily", "days_of_hours"))
ROWS = 12
"""In a slice: far fewer than there are."""
ONE = gold.Pace(ROWS, timedelta(0))
"""One slice each time."""


class Died(Exception):
    """What a process that is killed does not live to say."""


def taken(root: Path, count: int = 80, domain: Domain = FEW) -> Shop:
    """History in silver, in several files, and no mart yet."""
    of = Shop(root / "lake", feed(11, count), domain)
    for topic in of.domain.topics:
        for item in of.whole(topic):
            for start in range(0, item.end, 25):
                of.take(topic, [OffsetRange(item.partition, start, min(start + 25, item.end))])
    for item in of.domain.files:
        load_reference(of.lake, item, of.now)
    return of


def changed(**parts: Any) -> Domain:
    return shop.domain(marts=tuple(mart.name for mart in FEW.marts), **parts)


def refreshed(of: Shop, pace: gold.Pace = ONE) -> dict[str, gold.Refreshed]:
    logs = {topic: (log_of(topic), sorted(of.values[topic])) for topic in of.domain.topics}
    found = {done.mart.name: done for done in gold.refresh(of.lake, of.domain, logs, pace=pace)}
    for done in found.values():
        if done.error is not None:
            raise done.error
    return found


def building(of: Shop, pace: gold.Pace = ONE) -> dict[str, BuildReport]:
    return {name: done.building for name, done in refreshed(of, pace).items() if done.building is not None}


def finish(of: Shop, pace: gold.Pace = ONE) -> int:
    """Refresh until nothing is being built; how often that took."""
    for times in range(1, 500):
        if not building(of, pace):
            return times
    raise AssertionError("never built to the end")


def is_right(of: Shop) -> bool:
    """Every mart is what its SQL says of all that it reads now."""
    found, expected = {}, {}
    for mart in of.domain.marts:
        sources = source.sources_of(of.lake, of.domain, mart, {})
        expected[mart.name] = shop.ordered(rows.rows_of(of.domain, mart, sources, None))
        found[mart.name] = shop.ordered(of.gold(mart.name))
    return shop.same(found, expected)


def left_beside(of: Shop) -> list[str]:
    """Data files of tables in which marts are built."""
    return sorted(path.name for path in (of.root / "building").glob("*/*.parquet"))


def test_all_at_once_is_the_same_as_slice_by_slice(tmp_path: Path) -> None:
    of = taken(tmp_path, 120, DOMAIN)
    assert finish(of, gold.Pace(25, timedelta(0))) > 3
    assert is_right(of)
    assert left_beside(of) == []
    versions = of.versions()
    assert [done.report for done in refreshed(of).values()] == [None] * len(of.domain.marts)
    assert of.versions() == versions


def test_without_a_budget_all_is_built_in_one_go(tmp_path: Path) -> None:
    of = taken(tmp_path)
    found = refreshed(of, gold.Pace(ROWS))
    assert {name: done.building for name, done in found.items()} == dict.fromkeys(name.name for name in FEW.marts)
    hourly = found["sales_hourly"].report
    assert hourly is not None
    assert (hourly.rows, hourly.windows) == (of.gold("sales_hourly").height,) * 2
    assert is_right(of)
    assert refreshed(of)["days_of_hours"].report is None


def test_a_history_of_one_slice_is_built_in_one_commit(tmp_path: Path) -> None:
    of = taken(tmp_path)
    assert building(of, gold.Pace(1_000, timedelta(0))) == {}
    assert not (of.root / "building").exists()
    assert is_right(of)


def test_the_table_keeps_its_rows_until_all_is_built(tmp_path: Path) -> None:
    of = taken(tmp_path)
    finish(of)
    before = of.full("sales_hourly")
    other = of.under(changed(hourly=shop.HOURLY_SQL.replace("1 AS cancelled", "2 AS cancelled")))
    shares = []
    while "sales_hourly" in (found := building(other)):
        assert other.full("sales_hourly").equals(before)
        shares.append(found["sales_hourly"].share)
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    finish(other)
    assert is_right(other)
    assert other.gold("sales_hourly")["cancelled"].sum() == 2 * before["cancelled"].sum()


def test_what_is_being_built_is_no_table_that_anybody_sees(tmp_path: Path) -> None:
    of = taken(tmp_path)
    building(of)
    assert (of.root / "building").is_dir()
    assert {layer for layer, _ in table_names(of.root)} == {"bronze", "quarantine", "silver", "gold", "reference"}
    assert of.gold("sales_hourly").is_empty()


def test_no_slice_holds_more_rows_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = taken(tmp_path, domain=shop.domain())
    read: list[int] = []
    original = rows.rows_of

    def watched(domain: Domain, mart: Any, sources: source.Sources, covered: Any, **rest: Any) -> pl.DataFrame:
        assert covered is not None
        read.append(0)
        for item in sources.silver:
            time = pl.col(item.time_field)
            inside = pl.any_horizontal((time >= start) & (time < end) for start, end in covered)
            read[-1] += item.snapshot.scan().filter(inside).select(pl.len()).collect().item()
        return original(domain, mart, sources, covered, **rest)

    monkeypatch.setattr(build, "rows_of", watched)
    largest = 0
    while found := building(of):
        largest = max(largest, *(report.most_rows for report in found.values()))
    days = of.silver("order_placed")["placed_at"].dt.convert_time_zone("America/New_York").dt.date()
    most_of_a_day = days.value_counts()["count"].max()
    assert isinstance(most_of_a_day, int)
    assert 0 < max(read) <= max(ROWS, most_of_a_day)
    assert largest <= max(ROWS, most_of_a_day)
    assert sum(read) == of.silver("order_placed").height * 2 + of.silver("order_cancelled").height
    assert is_right(of)


def test_the_stream_goes_on_meanwhile(tmp_path: Path) -> None:
    """Late rows for windows that are built, rows for such as are not, and new rows at the end."""
    of = Shop(
        tmp_path / "lake",
        feed(5, 100),
        shop.domain(marts=(*(mart.name for mart in FEW.marts), "six_hours", "three_days")),
    )
    whole = {topic: of.whole(topic) for topic in of.domain.topics}
    for topic, ranges in whole.items():
        of.take(topic, [OffsetRange(item.partition, 0, item.end // 2) for item in ranges])
    pieces = [
        (topic, OffsetRange(item.partition, start, min(start + 3, item.end)))
        for topic, ranges in whole.items()
        for item in ranges
        for start in range(item.end // 2, item.end, 3)
    ]
    for item in of.domain.files:
        load_reference(of.lake, item, of.now)
    begun = 0
    for topic, piece in pieces:
        begun += bool(building(of, gold.Pace(3, timedelta(0))))
        of.take(topic, [piece])
    assert begun > 5
    finish(of)
    assert is_right(of)


def test_windows_that_see_rows_from_before_them(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", feed(21, 60), shop.domain(marts=tuple(shop.AS_OF)))
    whole = of.whole(ORDERS)
    of.take(ORDERS, [OffsetRange(item.partition, 0, item.end // 2) for item in whole])
    assert building(of, gold.Pace(8, timedelta(0))) != {}
    of.take(ORDERS, [OffsetRange(item.partition, item.end // 2, item.end) for item in whole])
    finish(of, gold.Pace(8, timedelta(0)))
    assert is_right(of)


def test_another_process_goes_on_where_the_first_one_ended(tmp_path: Path) -> None:
    of = taken(tmp_path)
    alone = finish(Shop(taken(tmp_path / "alone").root, of.values, of.domain))
    times = 1
    while building(of):
        of = Shop(of.root, of.values, of.domain)
        times += 1
    # One more for a mart over marts, which is not told what a process before this one did.
    assert times <= alone + 3
    assert is_right(of)


def test_a_mart_over_marts_waits_for_those_that_it_reads(tmp_path: Path) -> None:
    of = taken(tmp_path)
    finish(of)
    other = of.under(
        shop.domain(
            marts=ALL,
            hourly=shop.HOURLY_SQL.replace("1 AS cancelled", "2 AS cancelled").replace("1 AS placed", "3 AS placed"),
        )
    )
    other = other.under(
        replace(
            other.domain,
            marts=tuple(
                replace(mart, header=replace(mart.header, digest="f" * 64)) if mart.name == "days_of_hours" else mart
                for mart in other.domain.marts
            ),
        )
    )
    first = building(other, gold.Pace(3, timedelta(0)))
    assert first["days_of_hours"].waits_for == ("sales_hourly",)
    assert "once gold.sales_hourly stands" in first["days_of_hours"].line()
    finish(other, gold.Pace(3, timedelta(0)))
    assert is_right(other)


def test_the_contract_changes_while_a_mart_is_built(tmp_path: Path) -> None:
    of = taken(tmp_path)
    for _ in range(3):
        building(of)
    other = of.under(changed(hourly=shop.HOURLY_SQL.replace("1 AS cancelled", "2 AS cancelled")))
    finish(other)
    assert is_right(other)
    assert left_beside(other) == []


def test_a_reference_changes_while_a_mart_is_built(tmp_path: Path) -> None:
    of = taken(tmp_path)
    for _ in range(3):
        building(of)
    other = of.under(changed(products="product,title\nmug,Becher\npen,Stift\n"))
    for item in other.domain.files:
        load_reference(other.lake, item, other.now)
    finish(other)
    assert is_right(other)
    assert set(other.gold("sales_daily")["title"]) == {"Becher", "Stift", None}


def test_silver_is_rewritten_while_a_mart_is_built(tmp_path: Path) -> None:
    of = taken(tmp_path)
    for _ in range(2):
        building(of)
    spec = silver.spec(of.domain.versions_of("order_placed"))
    commit_module.commit(
        of.lake,
        spec,
        lambda _table, _left: commit_module.Change(
            of.silver("order_placed").head(20), replaces_all=True, progress={silver.REWRITES: 1}
        ),
    )
    finish(of)
    assert is_right(of)


def test_windows_of_a_rebuild_are_mended_in_what_is_built(tmp_path: Path) -> None:
    """Told of by the process that rewrote silver, so nothing is built twice."""
    of = taken(tmp_path)
    for _ in range(2):
        building(of)
    spec, before = silver.spec(of.domain.versions_of("order_placed")), silver.rewrites(of.lake, of.domain)
    standing = of.silver("order_placed")
    gone = standing.sort("occurred_at").head(3)
    commit_module.commit(
        of.lake,
        spec,
        lambda _table, _left: commit_module.Change(
            standing.join(gone, on="idempotency_key", how="anti"), replaces_all=True, progress={silver.REWRITES: 1}
        ),
    )
    touched = {
        mart.name: gold.touched_by(gone, "order_placed", mart)
        if "order_placed" in mart.silver_inputs
        else pl.Series([], dtype=pl.Datetime("us", "UTC"))
        for mart in of.domain.marts
    }
    rewritten = gold.Rewritten(touched, before, before | {"order_placed": 1})
    had: BuildReport | None = next(one for one in gold.builds(of.lake, of.domain) if one.mart == "sales_hourly")
    assert had is not None
    found = {done.mart.name: done for done in gold.refresh(of.lake, of.domain, {}, rewritten=rewritten, pace=ONE)}
    now = found["sales_hourly"].building
    assert now is not None
    assert now.rows > had.rows
    list(gold.refresh(of.lake, of.domain, {}, pace=gold.Pace(ROWS)))
    assert is_right(of)
    finish(of)
    assert is_right(of)


def hourly(of: Shop) -> Any:
    return next(mart for mart in of.domain.marts if mart.name == "sales_hourly")


def test_the_old_sql_comes_back(tmp_path: Path) -> None:
    of = taken(tmp_path)
    finish(of)
    other = of.under(changed(hourly=shop.HOURLY_SQL.replace("1 AS cancelled", "2 AS cancelled")))
    building(other)
    assert left_beside(of) != []
    assert building(of) == {}
    assert left_beside(of) == []
    assert is_right(of)


def test_a_column_of_another_type(tmp_path: Path) -> None:
    of = taken(tmp_path)
    finish(of)
    (mart,) = [mart for mart in of.domain.marts if mart.name == "sales_hourly"]
    sql = shop.HOURLY_SQL.replace("CAST(sum(cancelled) AS bigint)", "CAST(sum(cancelled) AS double)")
    fields = tuple(
        replace(field, type=type(field.type)("number")) if field.name == "cancelled" else field for field in mart.fields
    )
    other = replace(mart, sql=sql, fields=fields, header=replace(mart.header, digest="e" * 64))
    other = of.under(replace(of.domain, marts=tuple(other if one is mart else one for one in of.domain.marts)))
    finish(other)
    assert other.gold("sales_hourly").schema["cancelled"] == pl.Float64
    assert is_right(other)
    assert refreshed(other)["sales_hourly"].report is None


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_row_at_the_end_of_the_calendar_is_built_at_once(tmp_path: Path, at: str) -> None:
    values = [
        order(
            order_id=f"o-{hour}", placed_at=f"2024-07-01T{hour:02}:00:00Z", occurred_at=f"2024-07-01T{hour:02}:00:00Z"
        )
        for hour in range(20)
    ]
    values.append(order(order_id="far", placed_at=at, occurred_at=at))
    of = Shop(tmp_path / "lake", {ORDERS: {0: values}, shop.VISITS: {}}, shop.domain())
    of.take(ORDERS, of.whole(ORDERS))
    finish(of, gold.Pace(3, timedelta(0)))
    assert is_right(of)
    assert of.gold("sales_hourly").height == 21
    assert left_beside(of) == []


# --- slices ------------------------------------------------------------------------------------------------------------


def test_slices_are_whole_windows_that_follow_each_other(tmp_path: Path) -> None:
    values = [
        order(
            order_id=f"{hour}-{number}",
            placed_at=f"2024-07-01T{hour:02}:10:00Z",
            occurred_at=f"2024-07-01T{hour:02}:30:00Z",
        )
        for hour, count in ((1, 2), (2, 2), (3, 9), (7, 1), (8, 3))
        for number in range(count)
    ]
    of = Shop(tmp_path / "lake", {ORDERS: {0: values}, shop.VISITS: {}}, shop.domain())
    of.take(ORDERS, of.whole(ORDERS))
    sources = source.sources_of(of.lake, of.domain, hourly(of), {})
    found, until = [], None
    while (part := next_slice(sources, hourly(of), until, 4)) is not None:
        assert part.starts is not None
        until = part.starts[1]
        found.append((part.starts[0].hour, until.hour, part.rows, part.is_last))
    assert found == [(1, 3, 4, False), (3, 4, 9, False), (4, 9, 4, True)]


def test_windows_before_the_first_row_that_reach_it_are_built(tmp_path: Path) -> None:
    of = taken(tmp_path, 40, DOMAIN)
    (mart,) = [mart for mart in of.domain.marts if mart.name == "six_hours"]
    part = next_slice(source.sources_of(of.lake, of.domain, mart, {}), mart, None, 1)
    first = of.silver("order_placed")["occurred_at"].min()
    assert isinstance(first, datetime)
    assert part is not None
    assert part.starts is not None
    assert part.starts[0] == pl.Series([first]).dt.truncate("2h").item() - timedelta(hours=4)


# --- whoever dies ------------------------------------------------------------------------------------------------------


def effects() -> list[tuple[Any, str]]:
    return [
        (commit_module, "write_deltalake"),
        (commit_module, "adopt"),
        (Lake, "_create"),
        (build, "sweep"),
    ]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_dies_at_every_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    """Each process does one effect less, or one, and dies; the last one finds little to do."""
    hourly_alone = shop.domain(marts=("sales_hourly",))
    of = taken(tmp_path, 50, hourly_alone)
    undisturbed = taken(tmp_path / "undisturbed", 50, hourly_alone)
    finish(undisturbed)
    budget = 0

    def deadly(effect: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            nonlocal budget
            if effect is sweep and not left_beside(of):  # has no effect again
                return None
            budget -= 1
            if budget >= 0:
                return effect(*args, **named)
            if after:
                effect(*args, **named)
            raise Died

        return wrapped

    for owner, name in effects():
        monkeypatch.setattr(owner, name, deadly(getattr(owner, name)))
    monkeypatch.setattr(commit_module, "_holds", dying)
    deaths = 0
    while True:
        budget = 0 if after else 1
        process = Shop(of.root, of.values, of.domain)
        try:
            if not building(process):
                break
        except Died:
            deaths += 1
        assert deaths < 500
    budget = 10_000
    assert deaths >= 6
    finish(of)
    assert shop.same(
        {name: shop.ordered(of.full(name)) for name in ("sales_hourly",)},
        {name: shop.ordered(undisturbed.full(name)) for name in ("sales_hourly",)},
    )
    assert left_beside(of) == []


def dying(*_args: Any) -> bool:
    """A process that died looks at nothing any more."""
    return False


def test_two_processes_build_at_once(tmp_path: Path) -> None:
    of = taken(tmp_path)
    one, other = (Shop(of.root, of.values, of.domain) for _ in range(2))
    runs = [steps(one), steps(other)]
    while runs:
        runs = [run for run in runs if next(run, None) is not None]
    finish(of)
    assert is_right(of)
    assert left_beside(of) == []


def steps(of: Shop) -> Iterator[int]:
    """A process that is stopped after every slice of every mart."""
    logs = {topic: (log_of(topic), sorted(of.values[topic])) for topic in of.domain.topics}
    while True:
        found = []
        for done in gold.refresh(of.lake, of.domain, logs, pace=ONE):
            found.append(done)
            yield 1
        if not any(done.building for done in found):
            return


def test_swapped_by_somebody_else_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = taken(tmp_path, domain=shop.domain())
    original, overtaken = build.Build._swap, []

    def late(self: build.Build) -> Any:
        if not overtaken:
            overtaken.append(self.mart.name)
            finish(Shop(of.root, of.values, of.domain))
        return original(self)

    monkeypatch.setattr(build.Build, "_swap", late)
    finish(of)
    assert overtaken
    assert is_right(of)
    assert left_beside(of) == []


def test_a_zombie_swaps_after_the_table_went_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has looked, and commits when another process has swapped, cleared and gone on: it is refused, and looks again."""
    of = taken(tmp_path, domain=shop.domain())
    original, once = commit_module.adopt, []

    def late(*args: Any) -> None:
        if not once:
            once.append(True)
            other = Shop(of.root, of.values, of.domain)
            finish(other)
        original(*args)

    monkeypatch.setattr(commit_module, "adopt", late)
    finish(of)
    assert once
    assert is_right(of)
    assert left_beside(of) == []
