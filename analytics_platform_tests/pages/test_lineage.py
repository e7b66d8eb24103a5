from itertools import combinations
from pathlib import Path

import pytest

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Domain
from analytics_platform.pages.lineage import Box, around, drawn, edges
from analytics_platform_tests import shop

ROOT = Path(__file__).parents[2]

ORDERS, VISITS = ("topic", "shop.orders"), ("topic", "shop.visits")
BRONZE_ORDERS, BRONZE_VISITS = ("bronze", "shop_orders"), ("bronze", "shop_visits")
PLACED, CANCELLED, VIEWED = (("silver", name) for name in ("order_placed", "order_cancelled", "page_viewed"))
BAD, PRODUCTS = ("quarantine", "shop"), ("reference", "products")
DAILY, HOURLY = ("gold", "sales_daily"), ("gold", "sales_hourly")


def test_every_step_of_a_domain() -> None:
    assert edges(shop.domain()) == sorted(
        [
            (ORDERS, BRONZE_ORDERS),
            (VISITS, BRONZE_VISITS),
            (BRONZE_ORDERS, PLACED),
            (BRONZE_ORDERS, CANCELLED),
            (BRONZE_ORDERS, BAD),
            (BRONZE_VISITS, VIEWED),
            (BRONZE_VISITS, BAD),
            (PLACED, DAILY),
            (PLACED, HOURLY),
            (CANCELLED, HOURLY),
            (PRODUCTS, DAILY),
        ]
    )


def test_only_what_leads_to_a_table_and_away_from_it() -> None:
    found = edges(shop.domain())
    assert set(around(found, CANCELLED)) == {
        (ORDERS, BRONZE_ORDERS),
        (BRONZE_ORDERS, CANCELLED),
        (BRONZE_ORDERS, BAD),
        (CANCELLED, HOURLY),
    }
    assert set(around(found, DAILY)) == {
        (ORDERS, BRONZE_ORDERS),
        (BRONZE_ORDERS, PLACED),
        (BRONZE_ORDERS, BAD),
        (PLACED, DAILY),
        (PRODUCTS, DAILY),
    }
    assert around(found, PRODUCTS) == [(PRODUCTS, DAILY)]


@pytest.mark.parametrize("of", [shop.domain(), load_catalog(ROOT / "contracts").domains["flights"]])
def test_boxes_keep_apart_and_lines_go_from_one_to_another(of: Domain) -> None:
    drawing = drawn("All", edges(of))
    for one, other in combinations(drawing.boxes, 2):
        assert apart(one, other), (one, other)
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.x + box.width <= drawing.width
        assert box.y >= 0
        assert box.y + box.height <= drawing.height
    rights = {(round(box.x + box.width, 1), box.y + box.height / 2) for box in drawing.boxes}
    lefts = {(box.x, box.y + box.height / 2) for box in drawing.boxes}
    for line in drawing.lines:
        start, curve = line.d.removeprefix("M").split(" C")
        x, y = map(float, start.split())
        *_, end_x, end_y = map(float, curve.split())
        assert (x, y) in rights
        assert (end_x, end_y) in lefts


def apart(one: Box, other: Box) -> bool:
    return (
        one.x + one.width < other.x
        or other.x + other.width < one.x
        or one.y + one.height < other.y
        or other.y + other.height < one.y
    )


def test_a_table_that_nothing_leads_to_is_drawn_alone() -> None:
    drawing = drawn("Alone", [], PRODUCTS)
    assert [(box.label, box.is_focus) for box in drawing.boxes] == [("reference.products", True)]
    assert drawing.lines == ()
