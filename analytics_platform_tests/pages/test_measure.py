import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from analytics_platform import quarantine, silver
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.listing import live_tables
from analytics_platform.lake.table import Lake
from analytics_platform.pages.measure import (
    NOT_MEASURED,
    Badge,
    Measured,
    TableMeasure,
    freshness,
    measure,
    quality,
)
from analytics_platform.quarantine import DISCARDED
from analytics_platform_tests.pages.tree import AT
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order, view

HOUR = timedelta(hours=1)
LATEST = datetime(2024, 7, 1, 12, tzinfo=UTC)


def test_a_lake_that_is_not_there(tmp_path: Path) -> None:
    assert measure([Shop(tmp_path, {}).domain], Lake(tmp_path / "none"), AT) == Measured(AT, {}, {}, {})


def test_what_the_tables_say(tmp_path: Path) -> None:
    values = {
        ORDERS: {
            0: [
                order(order_id="o-1"),
                order(order_id="o-2", occurred_at=LATEST.isoformat()),
                order(order_id="o-3", cents=-1, product=7),
                order(order_id="o-4", cents=-1),
                b"{",
                json.dumps({"event_type": "ana@example.com", "schema_version": "1.0.0"}).encode(),
            ]
        },
        VISITS: {0: [view()]},
    }
    of = Shop(tmp_path / "lake", values)
    of.take_all()

    found = measure([of.domain], of.lake, AT)

    placed = silver.spec(of.domain.versions_of("order_placed"))
    assert found.tables[placed.title] == TableMeasure(2, LATEST)
    assert found.tables["silver.order_cancelled"] == TableMeasure(0, None)
    written = {table.title: table.written_at for table in live_tables(of.lake)}
    assert found.tables["gold.sales_daily"] == TableMeasure(1, written["gold.sales_daily"])
    assert found.waiting == {("shop", "order_placed"): 2, ("shop", None): 2}
    assert found.reasons == {
        ("shop", "order_placed"): {"rule_violated": 1, "wrong_type": 1},
        ("shop", None): {"malformed_json": 1, "unknown_event_type": 1},
    }


def test_rows_that_do_not_wait_any_more_do_not_count(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", {ORDERS: {0: [b"{"]}, VISITS: {0: []}})
    of.take(ORDERS, of.whole(ORDERS))
    rows = of.quarantine().with_columns(status=pl.lit(DISCARDED))
    commit(of.lake, quarantine.spec("shop"), lambda _table, _left: Change(rows, replaces_all=True))
    assert measure([of.domain], of.lake, AT).waiting == {}


def test_freshness() -> None:
    tables = {
        "silver.a": TableMeasure(3, AT - 2 * HOUR),
        "silver.b": TableMeasure(0, None),
        "gold.c": TableMeasure(1, AT),
    }
    found = Measured(AT, tables, {}, {})
    assert freshness(found, "silver.none", HOUR) is NOT_MEASURED
    assert freshness(found, "silver.b", HOUR) == Badge("plain", "empty")
    assert freshness(found, "silver.a", None) == Badge("plain", "newest event 2 h ago")
    assert freshness(found, "silver.a", 2 * HOUR) == Badge("good", "newest event 2 h ago")
    assert freshness(found, "silver.a", HOUR) == Badge("bad", "stale: newest event 2 h ago")
    assert freshness(found, "gold.c", HOUR) == Badge("good", "written 0.0 s ago")


def test_an_event_of_the_future_is_not_older_than_now() -> None:
    found = Measured(AT, {"silver.a": TableMeasure(3, AT + HOUR)}, {}, {})
    assert freshness(found, "silver.a", HOUR) == Badge("good", "newest event 0.0 s ago")


def test_quality() -> None:
    found = Measured(
        AT, {"silver.a": TableMeasure(98, AT), "silver.b": TableMeasure(0, None)}, {("d", "a"): 2, ("d", "c"): 1}, {}
    )
    assert quality(found, "d", "none", 0.5) is NOT_MEASURED
    assert quality(found, "d", "b", 0.5) == Badge("plain", "no records")
    assert quality(found, "d", "a", None) == Badge("plain", "2.00% of 100 in quarantine")
    assert quality(found, "d", "a", 0.02) == Badge("good", "2.00% of 100 in quarantine")
    assert quality(found, "d", "a", 0.01) == Badge("bad", "2.00% of 100 in quarantine")
    assert quality(found, "d", "c", 0.5) == Badge("bad", "100.00% of 1 in quarantine")
    assert quality(found, "other", "a", 0.5) == Badge("good", "nothing in quarantine")
