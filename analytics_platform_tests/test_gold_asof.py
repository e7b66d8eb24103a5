"""Marts that join a history: what is recomputed when that changes, and that the rest needs not to be."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.gold import rows, source
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform_tests import shop
from analytics_platform_tests.pricelist import PRICES, Prices, Sent, at, domain, price, prices
from analytics_platform_tests.shop import ORDERS, order

AS_OF = domain(priced=True)
NOT_SAID = domain(priced=True, as_of=False)


def ordered(number: int, minute: int, product: str = "mug") -> bytes:
    return order(order_id=f"o-{number}", occurred_at=at(minute).isoformat(), product=product)


def with_orders(of: Prices, *values: bytes) -> Prices:
    of.values = {**of.values, ORDERS: {0: list(values)}}
    return of


def is_right(of: Prices) -> bool:
    """Whether the mart is what its SQL says of all there is."""
    (mart,) = [one for one in of.domain.marts if one.name == "sales_hourly"]
    sources = source.sources_of(of.lake, of.domain, mart, {})
    wanted = shop.ordered(rows.rows_of(of.domain, mart, sources, None))
    return shop.same({mart.name: shop.ordered(of.gold(mart.name))}, {mart.name: wanted})


def windows(of: Prices) -> int:
    """How many windows a refresh recomputes."""
    report = of.refresh()["sales_hourly"]
    return 0 if report is None else report.windows


def shop_of_ten_hours(tmp_path: Path, *sent: Sent, said: bool = True) -> Prices:
    """Ten orders of mugs, an hour apart, and a first price for all of them."""
    of = prices(tmp_path, price("mug", 100, 0), *sent, of=AS_OF if said else NOT_SAID)
    with_orders(of, *(ordered(number, 60 * number + 30) for number in range(10)))
    of.take(ORDERS, [OffsetRange(0, 0, 10)])
    of.take(PRICES, [OffsetRange(0, 0, 1)])
    assert windows(of) == 10
    return of


def test_a_change_touches_the_windows_that_end_after_it(tmp_path: Path) -> None:
    of = shop_of_ten_hours(tmp_path, price("mug", 200, 7 * 60 + 10))
    of.take(PRICES, [OffsetRange(0, 1, 2)])
    assert windows(of) == 3
    assert of.gold("sales_hourly").sort("hour")["placed"].to_list() == [100] * 7 + [200] * 3
    assert is_right(of)
    assert windows(of) == 0


def test_a_change_that_comes_late_touches_the_windows_of_then(tmp_path: Path) -> None:
    of = shop_of_ten_hours(tmp_path, price("mug", 300, 8 * 60), price("mug", 200, 5 * 60 + 45))
    of.take(PRICES, [OffsetRange(0, 1, 2)])
    assert windows(of) == 2
    of.take(PRICES, [OffsetRange(0, 2, 3)])
    assert windows(of) == 5
    assert of.gold("sales_hourly").sort("hour")["placed"].to_list() == [100] * 6 + [200] * 2 + [300] * 2


def test_a_change_after_all_orders_touches_nothing_and_is_known(tmp_path: Path) -> None:
    of = shop_of_ten_hours(tmp_path, price("mug", 200, 10 * 60))
    of.take(PRICES, [OffsetRange(0, 1, 2)])
    assert windows(of) == 0
    assert is_right(of)


def test_several_changes_between_two_looks(tmp_path: Path) -> None:
    of = shop_of_ten_hours(
        tmp_path, price("mug", 200, 9 * 60), price("mug", 150, 4 * 60), price("mug", 300, 9 * 60 + 5)
    )
    for offset in (1, 2, 3):
        of.take(PRICES, [OffsetRange(0, offset, offset + 1)])
    assert windows(of) == 6
    assert is_right(of)


def test_a_mart_that_does_not_say_so_starts_over(tmp_path: Path) -> None:
    of = shop_of_ten_hours(tmp_path, price("mug", 200, 7 * 60 + 10), said=False)
    of.take(PRICES, [OffsetRange(0, 1, 2)])
    assert windows(of) == 10
    assert is_right(of)


steps = st.lists(
    st.one_of(
        st.builds(price, st.sampled_from(["mug", "pen"]), st.integers(1, 9), st.integers(0, 59)),
        st.builds(price, st.sampled_from(["mug", "pen"]), st.none()),
        st.tuples(st.integers(0, 300), st.sampled_from(["mug", "pen"])),
    ),
    min_size=1,
    max_size=9,
)


@given(steps, st.data())
@settings(max_examples=4, deadline=None)
def test_the_mart_is_always_what_its_sql_says_of_all(steps: list[Sent | tuple[int, str]], data: st.DataObject) -> None:
    sent = [one for one in steps if isinstance(one[0], bytes)]
    orders = [ordered(number, one[0], str(one[1])) for number, one in enumerate(steps) if isinstance(one[0], int)]
    with TemporaryDirectory() as folder:
        of = with_orders(prices(Path(folder), *sent, of=AS_OF), *orders)  # type: ignore[arg-type]
        done = {ORDERS: 0, PRICES: 0}
        for step in steps:
            topic = PRICES if isinstance(step[0], bytes) else ORDERS
            of.take(topic, [OffsetRange(0, done[topic], done[topic] + 1)])
            done[topic] += 1
            if data.draw(st.booleans()):
                of.refresh()
                assert is_right(of)
        of.refresh()
        assert is_right(of)
