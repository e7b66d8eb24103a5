from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analytics_platform import gold, silver
from analytics_platform.contract.model import Domain
from analytics_platform.errors import MartBroken
from analytics_platform.gold import rows, source
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake import commit as commit_module
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.table import Lake
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, Shop, feed, order

DOMAIN = shop.domain()


def orders(root: Path, *values: bytes, domain: Domain = DOMAIN) -> Shop:
    return Shop(root / "lake", {ORDERS: {0: values}, shop.VISITS: {}}, domain)


def placed(at: str, number: int = 0, **changes: Any) -> bytes:
    return order(order_id=f"o-{at}-{number}", placed_at=at, occurred_at=at, **changes)


def recomputed(of: Shop) -> dict[str, pl.DataFrame]:
    """What each mart's SQL says over all of silver."""
    found = {}
    for mart in of.domain.marts:
        sources = source.sources_of(of.lake, of.domain, mart, {})
        found[mart.name] = shop.ordered(rows.rows_of(of.domain, mart, sources, None))
    return found


def is_right(of: Shop) -> bool:
    return shop.same({name: shop.ordered(of.gold(name)) for name in recomputed(of)}, recomputed(of))


# --- only touched windows, and the same as all ---------------------------------------------------------------------------


def test_after_every_batch_the_marts_are_what_their_sql_says_of_all_of_silver(tmp_path: Path) -> None:
    values = feed(2, 80)
    of = Shop(tmp_path / "lake", values)
    for topic in of.domain.topics:
        for partition, sent in values[topic].items():
            for start in range(0, len(sent), 15):
                of.take(topic, [OffsetRange(partition, start, min(start + 15, len(sent)))])
                of.refresh()
                assert is_right(of)


def test_only_the_windows_of_new_rows_are_recomputed(tmp_path: Path) -> None:
    hours = [placed(f"2024-07-01T{hour:02}:30:00Z") for hour in range(10)]
    of = orders(tmp_path, *hours, placed("2024-07-01T03:59:59.999999Z", 1))
    of.take(ORDERS, [OffsetRange(0, 0, 10)])
    assert [report and (report.windows, report.rows) for report in of.refresh().values()] == [(2, 2), (10, 10)]
    before = of.gold("sales_hourly")
    of.take(ORDERS, [OffsetRange(0, 10, 11)])
    reports = of.refresh()
    assert [report and (report.windows, report.rows) for report in reports.values()] == [(1, 1), (1, 1)]
    after = of.gold("sales_hourly")
    assert ordered_difference(before, after) == [(datetime(2024, 7, 1, 3, tzinfo=UTC), 2, 0)]


def ordered_difference(before: pl.DataFrame, after: pl.DataFrame) -> list[tuple[object, ...]]:
    return sorted(set(after.rows()) - set(before.rows()))


def test_nothing_new_makes_no_version(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", feed(3, 40))
    of.take_all()
    versions = of.versions()
    assert of.refresh() == {"sales_daily": None, "sales_hourly": None}
    assert of.versions() == versions


def test_duplicates_and_bad_records_move_progress_but_no_rows(tmp_path: Path) -> None:
    one = placed("2024-07-01T10:00:00Z")
    of = orders(tmp_path, one, one, b"{")
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    of.refresh()
    before = {name: of.gold(name) for name in ("sales_daily", "sales_hourly")}
    of.take(ORDERS, [OffsetRange(0, 1, 3)])
    of.refresh()
    assert shop.same({name: of.gold(name) for name in before}, before)
    assert of.refresh() == {"sales_daily": None, "sales_hourly": None}


def test_silver_without_rows(tmp_path: Path) -> None:
    of = orders(tmp_path)
    of.refresh()
    assert (of.gold("sales_daily").height, of.gold("sales_hourly").height) == (0, 0)


def test_many_scattered_windows_are_covered_by_fewer_ranges(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    values = [placed((start + timedelta(hours=7 * number)).isoformat()) for number in range(150)]
    of = orders(tmp_path, *values, placed("2024-01-01T00:01:00Z", 1))
    of.refresh()
    of.take(ORDERS, [OffsetRange(0, 0, 100)])
    of.refresh()
    of.take(ORDERS, [OffsetRange(0, 100, 151)])
    of.refresh()
    assert is_right(of)
    assert of.gold("sales_hourly").height == 150


# --- days of 23 and 25 hours --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "outside", "day"),
    [
        (("2024-03-10T05:00:00Z", "2024-03-11T03:59:59.999999Z"), ("2024-03-10T04:59:59Z", "2024-03-11T04:00:00Z"), 10),
        (("2024-11-03T04:00:00Z", "2024-11-04T04:59:59.999999Z"), ("2024-11-03T03:59:59Z", "2024-11-04T05:00:00Z"), 3),
    ],
    ids=["23 hours", "25 hours"],
)
def test_days_on_which_the_clocks_change(
    tmp_path: Path, inside: tuple[str, str], outside: tuple[str, str], day: int
) -> None:
    of = orders(tmp_path, *(placed(at) for at in (inside[0], *outside, inside[1])))
    for offset in range(4):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
        of.refresh()
        assert is_right(of)
    counts = dict(of.gold("sales_daily").select("day", "orders").iter_rows())
    month = int(inside[0][5:7])
    assert counts == {date(2024, month, day - 1): 1, date(2024, month, day): 2, date(2024, month, day + 1): 1}


# --- what else makes a mart start over ----------------------------------------------------------------------------------


def test_a_changed_reference_is_joined_everywhere(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", feed(4, 40))
    of.take_all()
    renamed = of.under(shop.domain(products="product,title\nmug,Becher\ncup,Tasse\n"))
    reports = renamed.refresh()
    assert reports["sales_daily"] is not None
    assert reports["sales_hourly"] is None
    assert set(renamed.gold("sales_daily").select("product", "title").iter_rows()) == {
        ("mug", "Becher"), ("cup", "Tasse"), ("pen", None)
    }  # fmt: skip


def test_changed_sql_recomputes_everything(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", feed(4, 40))
    of.take_all()
    doubled = of.under(shop.domain(daily=shop.DAILY_SQL.replace("sum(cents)", "2 * sum(cents)")))
    before = of.gold("sales_daily")["cents"].sum()
    assert doubled.refresh()["sales_daily"] is not None
    assert doubled.gold("sales_daily")["cents"].sum() == 2 * before
    assert doubled.refresh() == {"sales_daily": None, "sales_hourly": None}


def test_a_rewrite_of_silver_that_the_mart_has_not_seen(tmp_path: Path) -> None:
    """As when a rebuild dies between silver and gold."""
    of = Shop(tmp_path / "lake", feed(4, 40))
    of.take_all()
    spec = silver.spec(DOMAIN.versions_of("order_placed"))
    half = of.silver("order_placed").head(10)
    commit(of.lake, spec, lambda _table, _left: Change(half, replaces_all=True, progress={silver.REWRITES: 1}))
    of.refresh()
    assert is_right(of)
    assert of.gold("sales_daily")["orders"].sum() == 10


def test_another_rewrite_of_silver_whose_process_died(tmp_path: Path) -> None:
    """A rebuild that comes after it knows its own windows alone, so the marts start over."""
    of = orders(tmp_path, *(placed(f"2024-07-0{day}T12:00:00Z") for day in range(1, 6)))
    of.take_all()
    spec = silver.spec(DOMAIN.versions_of("order_placed"))
    before = silver.rewrites(of.lake, DOMAIN)
    rows = of.silver("order_placed").sort("placed_at")
    for count in (1, 2):  # the first one's process dies
        left = rows.tail(5 - count)
        progress = {silver.REWRITES: count}
        commit(
            of.lake,
            spec,
            lambda _table, _left, left=left, progress=progress: Change(left, replaces_all=True, progress=progress),
        )
    mine = {mart.name: gold.touched_by(rows[1:2], "order_placed", mart) for mart in DOMAIN.marts}
    list(gold.refresh(of.lake, DOMAIN, {}, rewritten=gold.Rewritten(mine, before, before | {"order_placed": 1})))
    assert is_right(of)
    assert of.gold("sales_daily")["orders"].sum() == 3


def test_a_crash_between_silver_and_gold(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", feed(5, 60))
    of.refresh()
    for topic in of.domain.topics:
        of.take(topic, of.whole(topic))
    Shop(of.root, of.values).refresh()
    assert is_right(of)


def test_two_processes_refresh_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = Shop(tmp_path / "lake", feed(5, 60))
    of.take_all()
    other = Shop(of.root, of.values)
    write, calls = commit_module.write_deltalake, []

    def interleaved(*args: Any, **named: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            other.refresh()
        write(*args, **named)

    daily = of.under(shop.domain(daily=shop.DAILY_SQL + "HAVING true"))
    other.domain = daily.domain
    monkeypatch.setattr(commit_module, "write_deltalake", interleaved)
    assert daily.refresh() == {"sales_daily": None, "sales_hourly": None}  # the other one has done it
    assert is_right(daily)


# --- marts that do not work ---------------------------------------------------------------------------------------------


def with_sql(sql: str) -> Domain:
    """The shop with other SQL for its daily mart, as if its check when it was loaded had not seen the fault."""
    marts = tuple(replace(mart, sql=sql) if mart.name == "sales_daily" else mart for mart in DOMAIN.marts)
    changed = tuple(
        replace(mart, header=replace(mart.header, digest="0" * 64)) if mart.name == "sales_daily" else mart
        for mart in marts
    )
    return replace(DOMAIN, marts=changed)


ROW = "SELECT DATE '2024-07-01' AS day, 'mug' AS product, 'x' AS title, 1 AS orders, 2 AS cents"


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELEC 1", "its SQL fails"),
        ("SELECT * FROM silver.nothing", "its SQL fails"),
        (ROW.replace("'mug'", "error('no')"), "its SQL fails"),
        ("SELECT 1 AS other", "its SQL returns ['other']"),
        (ROW.replace("1 AS orders", "'many' AS orders"), "not of its contract's type"),
        (f"{ROW} UNION ALL {ROW}", "two rows for one day, product"),
        (ROW.replace("1 AS orders", "CAST(NULL AS bigint) AS orders"), "does not fit its contract"),
    ],
)
def test_a_broken_mart_keeps_its_rows(tmp_path: Path, sql: str, reason: str) -> None:
    of = Shop(tmp_path / "lake", feed(6, 30))
    of.take_all()
    before = of.exact()
    broken = of.under(with_sql(sql))
    with pytest.raises(MartBroken) as caught:
        broken.refresh()
    assert reason in caught.value.reason
    assert shop.same(of.exact(), before)
    assert of.refresh()["sales_daily"] is None


def test_a_row_outside_the_windows_asked_for_is_refused(tmp_path: Path) -> None:
    of = orders(tmp_path, placed("2024-07-01T10:00:00Z"), placed("2024-07-05T10:00:00Z"), domain=with_sql(ROW))
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    of.refresh()
    of.take(ORDERS, [OffsetRange(0, 1, 2)])
    with pytest.raises(MartBroken, match="outside the windows"):
        of.refresh()
    assert of.gold("sales_daily")["day"].to_list() == [date(2024, 7, 1)]


def test_a_null_window_is_refused(tmp_path: Path) -> None:
    sql = ROW.replace("DATE '2024-07-01'", "CAST(NULL AS date)")
    of = orders(tmp_path, placed("2024-07-01T10:00:00Z"), domain=with_sql(sql))
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    with pytest.raises(MartBroken):
        of.refresh()
    assert Lake(of.root).newest(gold.spec(DOMAIN.marts[0])) is not None
    assert of.gold("sales_daily").height == 0
