from datetime import date, timedelta
from pathlib import Path

import pytest

from analytics_platform.contract.evolve import compare_tables
from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import MartContract, Session, Window
from analytics_platform_tests.contract.test_load import complaints_of
from analytics_platform_tests.contract.tree import SALES, write_tree

FILE = "contracts/shop/marts/carts.odcs.yaml"
WINDOW = "column: began, gap: 90m, by: [currency], timeFields: {order_placed: placed_at}, finalAfter: 1h"
SQL = "SELECT _session AS began, currency, count(*) AS orders, avg(cents) AS mean_cents FROM silver.order_placed GROUP BY ALL"


def write_mart(folder: Path, sql: str, *, window: str = WINDOW) -> Path:
    """The tree with one more mart, whose windows are sessions."""
    contracts = write_tree(folder)
    text = SALES.replace("sales_daily", "carts").replace(
        "{name: day, logicalType: date,", "{name: began, logicalType: timestamp,"
    )
    old = "column: day, size: 1d, timezone: Europe/Berlin, timeFields: {order_placed: placed_at}"
    assert old in text
    (folder / FILE).write_text(text.replace(old, window))
    (folder / FILE).with_name("carts.sql").write_text(sql)
    return contracts


def carts(contracts: Path) -> MartContract:
    (mart,) = [mart for mart in load_catalog(contracts).domains["shop"].marts if mart.name == "carts"]
    return mart


def test_sessions_of_a_contract(tmp_path: Path) -> None:
    assert carts(write_mart(tmp_path, SQL)).window == Window(
        "began",
        timedelta(0),
        "UTC",
        {"order_placed": "placed_at"},
        final_after=timedelta(hours=1),
        session=Session(timedelta(minutes=90), ("currency",)),
    )


def test_sessions_over_a_mart(tmp_path: Path) -> None:
    sql = "SELECT CAST(day AS timestamptz) AS began, currency, orders, mean_cents FROM gold.sales_daily"
    contracts = write_mart(tmp_path, sql, window="column: began, gap: 90m, by: [currency]")
    (found,) = complaints_of(contracts)
    assert found == (
        f"{FILE}:21: customProperties[0].value.gap: found sessions over gold.sales_daily, allowed is over silver and "
        "reference tables alone: the time of a mart's row is a window's"
    )


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("_session AS", "window_starts(placed_at)[1] AS", "window_starts does not exist!"),
        ("count(*)", "count(_sessions)", 'Referenced column "_sessions" not found'),
    ],
)
def test_sql_that_does_not_fit_sessions(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    (found,) = complaints_of(write_mart(tmp_path, SQL.replace(old, new)))
    assert complaint in found


def test_a_mart_of_fixed_windows_knows_no_sessions(tmp_path: Path) -> None:
    contracts = write_mart(tmp_path, SQL)
    daily = contracts / "shop/marts/sales_daily.sql"
    daily.write_text(daily.read_text().replace("avg(cents)", "avg(epoch(_session))"))
    (found,) = complaints_of(contracts)
    assert 'Referenced column "_session" not found' in found


def test_another_gap_is_another_mart(tmp_path: Path) -> None:
    before = carts(write_mart(tmp_path / "before", SQL))
    after = carts(write_mart(tmp_path / "after", SQL, window=WINDOW.replace("90m", "2h")))
    (change,) = compare_tables(before, after, date(2026, 11, 24))
    assert (
        change.change
        == "sessions by currency with gaps of at most 1:30:00 -> sessions by currency with gaps of at most 2:00:00"
    )
