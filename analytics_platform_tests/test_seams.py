"""Where pieces meet: watermarks that go, histories and calendars, damage and repair, enrichments that leave and come back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform import forget, gold, silver
from analytics_platform.contract.model import Domain, Watermark
from analytics_platform.gold import asof
from analytics_platform.gold.source import MartInput, Sources
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform.rebuild import rebuild
from analytics_platform.reference import load_reference, spec
from analytics_platform.replay import replay
from analytics_platform.selection import Place, Selection
from analytics_platform.variable import Secret
from analytics_platform_tests import shop
from analytics_platform_tests.pricelist import PRICES, price, prices
from analytics_platform_tests.shop import ORDERS, SESSION_MARTS, START, VISITS, Shop
from analytics_platform_tests.test_enrich import ITEM, load
from analytics_platform_tests.test_fill import passes
from analytics_platform_tests.test_gold_sessions import NOON, event
from analytics_platform_tests.test_watermark import DAY, HOUR, JULY, days, july, placed, watched


def marked(of: Domain, mark: Watermark | None) -> Domain:
    names = {"order_placed", "order_cancelled"}
    return replace(of, events=tuple(replace(one, watermark=mark) if one.name in names else one for one in of.events))


def test_a_watermark_taken_back_leaves_no_window_final(tmp_path: Path) -> None:
    of = july(tmp_path)
    assert days(of)[3][0] == "final"
    plain = of.under(watched())
    plain.take(ORDERS, [OffsetRange(0, 10, 11)])
    plain.refresh()
    assert {status for status, _, _ in days(plain).values()} == {"open"}


def test_sessions_go_on_after_a_watermark_was_taken_back(tmp_path: Path) -> None:
    """No session is recomputed but those that rows come into."""
    of = shop.domain(marts=tuple(SESSION_MARTS))
    values = [event(NOON + number * HOUR, number) for number in range(8)]
    seen = Shop(
        tmp_path / "lake",
        {ORDERS: {0: values}, VISITS: {}},
        marked(of, Watermark(HOUR, idle_after=timedelta(seconds=1))),
    )
    for offset in range(4):
        seen.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
        seen.refresh()
    assert "final" in set(seen.full("visits")["_status"])
    plain = seen.under(marked(of, None))
    sessions = []
    for offset in range(4, 8):
        plain.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
        report = plain.refresh()["visits"]
        assert report is not None
        sessions.append(report.windows)
    assert sessions[1:] == [1, 1, 1]
    assert set(plain.full("visits")["_status"]) == {"open"}


def test_doubled_rows_that_have_watermarks_are_rebuilt(tmp_path: Path) -> None:
    of = july(tmp_path)
    before = of.exact()
    some = of.silver("order_placed").head(3)
    commit(of.lake, silver.spec(of.domain.versions_of("order_placed")), lambda _table, _left: Change(some))
    assert of.silver("order_placed").height == 13
    rebuild(of.domain, of.settings, START, START + HOUR, clock=of.clock)
    assert shop.same(of.exact(), before)


def test_a_row_that_a_rebuild_brings_in_met_what_its_batch_met_not_what_a_replay_did(tmp_path: Path) -> None:
    dear = [placed(f"2024-07-02T1{number}:30:00Z", 7, cents=200_000) for number in range(2)]
    values = {ORDERS: {0: [*JULY[:2], *dear, *JULY[2:]]}, VISITS: {}}
    strict = Shop(tmp_path / "lake", values, watched(order_placed=Watermark(DAY)))
    for start, end in ((0, 1), (1, 4), (4, 8), (8, 12)):
        strict.take(ORDERS, [OffsetRange(0, start, end)])
    strict.refresh()
    loose = shop.domain(marts=("sales_hourly", "sales_daily"), most_cents=1_000_000)
    events = tuple(replace(one, watermark=strict.domain.versions_of(one.name)[0].watermark) for one in loose.events)
    of = strict.under(replace(strict.domain, events=events))
    assert (
        replay(of.domain, of.settings, Selection(places=(Place(ORDERS, 0, 2, 3),)), clock=of.clock, by="me").replayed
        == 1
    )
    rebuild(of.domain, of.settings, START, START + HOUR, clock=of.clock)
    rows = of.silver("order_placed").sort("_offset")
    assert rows.height == 12
    assert rows["_watermark"][3] == rows["_watermark"][1]


def test_an_enrichment_that_left_and_came_back_is_filled(tmp_path: Path) -> None:
    """Also the rows that came while no contract had it."""
    sent = [placed(f"2024-07-01T1{number}:00:00Z", number) for number in range(6)]
    of = Shop(tmp_path / "lake", {ORDERS: {0: sent}, VISITS: {}}, shop.domain(enrich=ITEM))
    load(of)
    of.take(ORDERS, [OffsetRange(0, 0, 2)])
    of.under(shop.domain()).take(ORDERS, [OffsetRange(0, 2, 4)])
    of.now += HOUR
    of.take(ORDERS, [OffsetRange(0, 4, 6)])
    assert of.silver("order_placed")["product_title"].null_count() == 2
    assert passes(of) == [{"order_placed.item": 2}]
    assert of.silver("order_placed")["product_title"].null_count() == 0


def test_a_file_with_history_may_have_a_column_named_for_what_another_was_before(tmp_path: Path) -> None:
    """`title` and `title_before`: the burst of its domain goes on, and versions are told apart."""
    (products,) = shop.domain().references
    title = next(one for one in products.fields if one.name == "title")
    fields = (*products.fields, replace(title, name="title_before"))
    lake, file = Lake(tmp_path / "lake", fsync=False), tmp_path / "products.csv"
    kept = replace(products, file=file, fields=fields, history=True)
    for titles in ("A,Z", "A,Y"):
        file.write_text(f"product,title,title_before\na,{titles}\n")
        load_reference(lake, kept, START)
    found = Snapshot.of(lake.ensure(spec(kept))).scan().collect().sort("_valid_from")
    assert found["title_before"].to_list() == ["Z", "Y"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Europe/Berlin", "America/New_York"])
def test_a_history_changes_above_days_of_any_zone(tmp_path: Path, zone: str) -> None:
    of = july(tmp_path)
    (daily,) = [mart for mart in of.domain.marts if mart.name == "sales_daily"]
    below = replace(daily, window=replace(daily.window, timezone=zone))
    snapshot = Snapshot.of(of.lake.ensure(gold.spec(daily)))
    sources = Sources((), (MartInput(below, snapshot, 1),), {})
    (starts,) = asof._from(datetime(2024, 7, 8, 12, tzinfo=UTC), sources, below)
    assert len(starts) == 3


def test_who_is_forgotten_stands_in_no_file_of_a_table_that_follows_a_topic(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 0, note="lovelace"), price("pen", 10, 1))
    for offset in range(2):
        of.take(PRICES, [OffsetRange(0, offset, offset + 1)])
        of.refresh()
    (key,) = of.silver("prices").filter(product="mug")["idempotency_key"]
    keyed = replace(of.settings, keys=(("erasure", Secret("e7" * 32)),))
    report = forget.by_key(of.domain, "prices", key, keyed, clock=of.clock)
    assert of.history() == [("pen", 10, 1, None)]
    files = list((of.root / "reference/prices").glob("*.parquet"))
    assert [pl.read_parquet(file)["note"].to_list() for file in files] == [[None]]
    (table,) = [one for one in report.tables if one.table == "reference.prices"]
    assert table.files_deleted == 2
