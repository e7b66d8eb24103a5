from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from analytics_platform.chart.question import MOST_POINTS, Axis, Plot, Question, plot
from analytics_platform.contract.panel import Aggregate, Kind
from analytics_platform.duck import DuckDBPyConnection
from analytics_platform.errors import QueryFailed
from analytics_platform.query import connect_locked
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order

EVIL = "mug\x1b[31m\n</svg><script>"


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBPyConnection]:
    """Four orders within two hours, of three products."""
    sold = [("10:05", "mug", 100), ("10:50", "mug", 300), ("10:51", "pen", 7), ("12:00", EVIL, 50)]
    orders = [
        order(
            order_id=f"o-{cents}",
            placed_at=f"2024-07-01T{at}:00Z",
            occurred_at=f"2024-07-01T{at}:00Z",
            product=product,
            cents=cents,
        )
        for at, product, cents in sold
    ]
    shop = Shop(tmp_path_factory.mktemp("lake"), {ORDERS: {0: orders}, VISITS: {0: []}})
    shop.take_all()
    with closing(connect_locked(shop.settings)) as found:
        yield found


def hour(number: int) -> datetime:
    return datetime(2024, 7, 1, number, tzinfo=UTC)


def rows(found: Plot) -> list[tuple[object, ...]]:
    return found.rows.rows()


def test_a_mart_over_time(connection: DuckDBPyConnection) -> None:
    found = plot(connection, Question("gold.sales_hourly", "hour", "placed"))
    assert (found.axis, found.notes) == (Axis.TIME, ())
    assert rows(found) == [(hour(10), "", 3.0), (hour(12), "", 1.0)]


def test_dates_are_their_midnights(connection: DuckDBPyConnection) -> None:
    found = plot(connection, Question("gold.sales_daily", "day", "cents", where="product = 'mug' -- mugs"))
    assert rows(found) == [(hour(0), "", 400.0)]


def test_rows_of_one_x_are_put_together_only_when_asked_to(connection: DuckDBPyConnection) -> None:
    with pytest.raises(QueryFailed, match=r"^silver\.order_placed has up to 2 rows for one product: tell them apart"):
        plot(connection, Question("silver.order_placed", "product", "cents"))

    found = plot(connection, Question("silver.order_placed", "product", "cents", aggregate=Aggregate.MEAN))

    assert (found.axis, found.y) == (Axis.TEXT, "mean of cents")
    assert {x: y for x, _, y in rows(found)}["mug"] == 200.0


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("sum", 400), ("mean", 200), ("median", 200), ("min", 100), ("max", 300), ("count", 2)],
)
def test_every_aggregate(connection: DuckDBPyConnection, aggregate: str, expected: float) -> None:
    question = Question("silver.order_placed", "product", "cents", None, "product = 'mug'", Aggregate(aggregate))
    assert rows(plot(connection, question)) == [("mug", "", float(expected))]


def test_texts_can_be_counted_but_not_drawn_upwards(connection: DuckDBPyConnection) -> None:
    with pytest.raises(QueryFailed, match=r"^silver\.order_placed\.product holds no numbers"):
        plot(connection, Question("silver.order_placed", "cents", "product"))
    counted = Question("silver.order_placed", "cents", "product", aggregate=Aggregate.COUNT)
    assert plot(connection, counted).rows["y"].to_list() == [1.0] * 4


def test_points_may_share_an_x(connection: DuckDBPyConnection) -> None:
    found = plot(connection, Question("silver.order_placed", "product", "cents", last=3), Kind.POINT)
    assert found.rows.height == 3


def test_only_the_newest(connection: DuckDBPyConnection) -> None:
    assert rows(plot(connection, Question("gold.sales_hourly", "hour", "placed", last=1))) == [(hour(12), "", 1.0)]


def test_what_has_no_place_is_left_out_and_said(connection: DuckDBPyConnection) -> None:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE numbers AS "
        "SELECT i AS x, i % 13 AS part, CASE WHEN i = 5 THEN 'nan'::DOUBLE ELSE i END AS y FROM range(10000) t(i)"
    )
    found = plot(connection, Question("temp.numbers", "x", "y", "part"))
    assert found.rows.height < MOST_POINTS
    assert found.rows["x"].max() == 9_999.0
    assert len(found.series) == 12
    assert found.notes[0] == "the 12 largest of 13 values of part are drawn"
    assert found.notes[1].startswith("the newest ")
    assert found.notes[1].endswith(" of 9,999 values of x are drawn")
    assert plot(connection, Question("temp.numbers", "x", "y"), Kind.POINT).notes == (
        "the newest 1,000 rows are drawn",
    )


def test_labels_cannot_steer_anything(connection: DuckDBPyConnection) -> None:
    found = plot(connection, Question("silver.order_placed", "cents", "cents", "product"))
    assert "mug\\x1b[31m\\n</svg><script>" in found.series


def test_no_rows(connection: DuckDBPyConnection) -> None:
    assert plot(connection, Question("gold.sales_hourly", "hour", "placed", where="false")).rows.is_empty()


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question("gold.sales_hurly", "hour", "placed"), "Did you mean gold.sales_hourly"),
        (Question("gold.sales_hourly", "hours", "placed"), 'Referenced column "hours" not found'),
        (Question("gold.sales_hourly", "hour", "placed", where="1) FROM x; DROP"), "Parser Error"),
        (Question("gold.sales_hourly", "hour", "placed", where="x IN (FROM '/etc/passwd')"), "does not exist"),
    ],
)
def test_what_cannot_be_asked(connection: DuckDBPyConnection, question: Question, said: str) -> None:
    with pytest.raises(QueryFailed) as caught:
        plot(connection, question)
    assert said in str(caught.value)
