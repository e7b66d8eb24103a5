"""Reference tables that follow a topic, in Dagster and on pages."""

from datetime import UTC, datetime

import dagster as dg

from analytics_platform.contract.model import Catalog
from analytics_platform.defs.location import code_location
from analytics_platform.defs.sensors import sensor_name
from analytics_platform.pages.site import site
from analytics_platform.settings import Settings
from analytics_platform_tests.pages.tree import NOTHING
from analytics_platform_tests.pricelist import domain

CATALOG = Catalog({"shop": domain(priced=True)})


def test_the_table_stands_between_its_changes_and_the_marts() -> None:
    location = code_location(CATALOG, (), Settings(), lambda: datetime(2024, 7, 1, tzinfo=UTC))
    graph = {
        item.key.to_user_string(): {dep.asset_key.to_user_string() for dep in item.deps}
        for item in location.resolve_all_asset_specs()
    }
    assert graph["bronze/shop_prices"] == {"kafka/shop_prices"}
    assert graph["silver/prices"] == {"bronze/shop_prices"}
    assert graph["reference/prices"] == {"silver/prices"}
    assert graph["gold/sales_hourly"] == {"silver/order_placed", "reference/prices"}
    assert graph["reference/products"] == set()


def test_only_tables_of_files_are_loaded_by_the_job_for_them() -> None:
    location = code_location(CATALOG, (), Settings(), lambda: datetime(2024, 7, 1, tzinfo=UTC))
    assert location.resolve_job_def("shop_reference").asset_layer.executable_asset_keys == {
        dg.AssetKey(["reference", "products"])
    }
    assert location.resolve_sensor_def(sensor_name("shop"))


def test_its_page_names_the_topic() -> None:
    pages = site(CATALOG, NOTHING)
    assert "shop.prices" in pages["reference/prices.html"]
    assert "products.csv" in pages["reference/products.html"]
