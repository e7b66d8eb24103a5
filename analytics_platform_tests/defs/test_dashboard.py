from pathlib import Path

import dagster as dg

from analytics_platform.defs.dashboard import dashboard_asset, dashboard_schedule
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order


def test_the_page_is_drawn_and_its_place_told(tmp_path: Path):
    shop = Shop(tmp_path / "lake", {ORDERS: {0: [order(), b"{"]}, VISITS: {0: []}})
    shop.take_all()
    page = tmp_path / "lake/dashboard/shop.html"

    done = dg.materialize([dashboard_asset(shop.domain, shop.settings, shop.clock)])

    (event,) = done.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["page"] == dg.MetadataValue.path(str(page))
    assert metadata["link"] == dg.MetadataValue.url(page.as_uri())
    assert metadata["size_bytes"].value == page.stat().st_size
    assert "<h1>shop</h1>" in page.read_text()


def test_a_page_that_cannot_be_written(tmp_path: Path):
    shop = Shop(tmp_path / "lake", {ORDERS: {0: [order()]}, VISITS: {0: []}})
    shop.take_all()
    (tmp_path / "lake/dashboard").write_text("")

    done = dg.materialize([dashboard_asset(shop.domain, shop.settings, shop.clock)], raise_on_error=False)

    assert not done.success
    (failure,) = [event for event in done.all_events if event.is_step_failure]
    assert "the pages cannot be written there" in str(failure.step_failure_data.error)


def test_the_schedule_is_on_and_keeps_away_from_full_hours(tmp_path: Path):
    shop = Shop(tmp_path, {ORDERS: {0: []}, VISITS: {0: []}})
    job, schedule = dashboard_schedule(shop.domain)
    assert (job.name, schedule.name) == ("shop_dashboard", "shop_dashboard_schedule")
    assert schedule.cron_schedule == "7-59/15 * * * *"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert job.tags is not None
    assert job.tags["analytics/mode"] == "dashboard"
