"""The check of what is announced to end: what it counts, what it shows, and what it does not read."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

from analytics_platform import silver
from analytics_platform.contract.model import Deprecation, Domain, Field, LogicalType
from analytics_platform.defs.checks import check_specs
from analytics_platform.defs.deprecation import RECENT, deprecated_use, deprecation_checks
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.files import Snapshot
from analytics_platform.usage import SCHEMA
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LAST_DAY = date(2026, 12, 1)
COUPON = Field(
    "coupon",
    LogicalType.STRING,
    required=False,
    description="",
    classification="confidential",
    deprecated=True,
    deprecation=Deprecation(date(2026, 9, 1), LAST_DAY, "discounts"),
)


def ending() -> Domain:
    """The shop, whose orders have a coupon for some more days."""
    of = shop.domain()
    events = [
        replace(event, fields=(*event.fields, COUPON)) if event.name == "order_placed" else event for event in of.events
    ]
    return replace(of, events=tuple(events))


def shop_of(root: Path, *values: bytes) -> Shop:
    return Shop(root / "lake", {ORDERS: {0: values}, VISITS: {0: ()}}, ending())


def placed(number: int, **changes: object) -> bytes:
    return order(order_id=f"o-{number}", **{"source": "web", **changes})


def used(*rows: tuple[str, date, str | None, int, int]) -> pl.DataFrame:
    """Uses of (what, last day, source, rows, refused)."""
    found = [
        {"event": "order_placed", "what": what, "last_day": last_day, "replaced_by": None, "source": source}
        | {"rows": count, "refused": refused, "first_seen": NOON - timedelta(minutes=9), "last_seen": NOON}
        for what, last_day, source, count, refused in rows
    ]
    return pl.DataFrame(found, schema=SCHEMA)


def shown(check: dg.AssetCheckResult) -> list[dict[str, object]]:
    table = check.metadata["uses"]
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


def number(check: dg.AssetCheckResult, name: str) -> object:
    return check.metadata[name].value


def test_only_where_something_ends():
    names = [spec.asset_key.to_user_string() for spec in check_specs(ending()) if spec.name == "no_deprecated_use"]
    assert names == ["silver/order_placed"]
    assert not any(spec.blocking for spec in check_specs(ending()) if spec.name == "no_deprecated_use")
    assert not any(spec.name == "no_deprecated_use" for spec in check_specs(shop.domain()))


def test_nothing_ends(tmp_path: Path):
    of = Shop(tmp_path / "lake", {ORDERS: {0: (placed(1),)}, VISITS: {0: ()}}, shop.domain())
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    assert list(deprecation_checks(of.lake, of.domain, of.now)) == []


def test_no_table_yet(tmp_path: Path):
    of = shop_of(tmp_path)
    (check,) = deprecation_checks(of.lake, of.domain, of.now)
    assert (check.passed, check.description) == (True, "nobody uses anything whose end is announced")


def test_names_and_no_values(tmp_path: Path):
    of = shop_of(tmp_path, placed(1, coupon="SECRET"), placed(2, coupon="SECRET", source=...), placed(3))
    of.take(ORDERS, [OffsetRange(0, 0, 3)])
    (check,) = deprecation_checks(of.lake, of.domain, of.now)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.description == "field coupon ends after 2026-12-01: 2 records of 2 sources"
    seen = f"{of.now:%Y-%m-%d %H:%M:%S}Z"
    one = {"what": "field coupon", "rows": 1, "refused": 0, "first_seen": seen, "last_seen": seen}
    end = {"last_day": "2026-12-01", "days_left": 8, "use_instead": "discounts"}
    assert shown(check) == [{**one, "source": "web", **end}, {**one, "source": "(none said)", **end}]
    assert [number(check, name) for name in ("sources", "records", "more")] == [2, 2, 0]
    assert "SECRET" not in repr(check)


def test_the_hour_that_counts(tmp_path: Path):
    of = shop_of(tmp_path, placed(1, coupon="a"))
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    for later, passed in ((RECENT, False), (RECENT + timedelta(milliseconds=1), True)):
        (check,) = deprecation_checks(of.lake, of.domain, of.now + later)
        assert check.passed is passed


def test_files_of_other_hours_are_not_read(tmp_path: Path):
    of = shop_of(tmp_path, placed(1, coupon="a"), placed(2, coupon="b"))
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    table = of.lake.newest(silver.spec(of.domain.versions_of("order_placed")))
    assert table is not None
    old = Snapshot.of(table).paths
    of.now += RECENT
    of.take(ORDERS, [OffsetRange(0, 1, 2)])
    for path in old:
        Path(path).unlink()
    (check,) = deprecation_checks(of.lake, of.domain, of.now)
    assert number(check, "records") == 1


def test_more_sources_than_a_table_shows():
    rows = [("field coupon", LAST_DAY, f"s-{nth:02}", nth, 0) for nth in range(1, 33)]
    check = deprecated_use("order_placed", used(*rows), NOON)
    assert check.description == (
        "field coupon ends after 2026-12-01: 528 records of 32 sources; and 12 more than the 20 in the table"
    )
    assert [row["source"] for row in shown(check)] == [f"s-{nth:02}" for nth in range(32, 12, -1)]
    assert number(check, "more") == 12


def test_before_on_and_after_the_last_day():
    today = NOON.date()
    rows = [
        ("version 1.0.0", today - timedelta(days=2), "till", 1, 3),
        ("version 1.1.0", today, "till", 2, 0),
        ("field coupon", today + timedelta(days=1), "web", 1, 0),
    ]
    check = deprecated_use("order_placed", used(*rows), NOON)
    assert check.description == (
        "version 1.0.0 ended after 2026-11-22: 4 records of 1 source; "
        "version 1.1.0 ends after 2026-11-24: 2 records of 1 source; "
        "field coupon ends after 2026-11-25: 1 record of 1 source"
    )
    assert [(row["days_left"], row["rows"], row["refused"]) for row in shown(check)] == [
        (-2, 1, 3),
        (0, 2, 0),
        (1, 1, 0),
    ]
    assert number(check, "sources") == 2


def test_a_source_is_text_and_nothing_else():
    check = deprecated_use("order_placed", used(("field coupon", LAST_DAY, "| [x](//e) <b>", 1, 0)), NOON)
    assert [row["source"] for row in shown(check)] == ["| [x](//e) <b>"]
    assert "[x]" not in str(check.description)
