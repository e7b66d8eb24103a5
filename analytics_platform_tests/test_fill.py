"""Rows that came while their reference table was not there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from analytics_platform import gold, silver
from analytics_platform.enrich import Sources
from analytics_platform.fill import Filled, fill
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.rebuild import rebuild
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, START, Shop, feed, log_of
from analytics_platform_tests.test_enrich import ENRICHED, HOUR, ITEM, facts, found, load, mark, placed, shop_of, take

TITLES = """\
SELECT CAST(timezone('America/New_York', placed_at) AS date) AS day, product, max(product_title) AS title,
    count(*) AS orders, CAST(sum(cents) AS bigint) AS cents
FROM silver.order_placed GROUP BY day, product
"""
READS_TITLES = shop.domain(enrich=ITEM, daily=TITLES, marts=("sales_hourly", "sales_daily", "days_of_hours"))
"""Its daily mart reads what silver took from the reference table."""


def marts(of: Shop, done: Filled | None = None) -> dict[str, int]:
    """Bring the marts up to date; the windows recomputed, by mart."""
    logs = {topic: (log_of(topic), sorted(of.values[topic])) for topic in of.domain.topics}
    rewritten = None if done is None else done.rewritten
    refreshed = list(gold.refresh(of.lake, of.domain, logs, rewritten=rewritten))
    assert [item.error for item in refreshed] == [None] * len(refreshed)
    return {item.mart.name: item.report.windows for item in refreshed if item.report is not None}


def passes(of: Shop, max_rows: int = 100_000) -> list[dict[str, int]]:
    """Fill until there is nothing to do, telling the marts each time; the rows of each pass."""
    told = []
    while (done := fill(Sources(of.lake, of.domain), max_rows=max_rows, now=of.now)) is not None:
        assert not done.stuck
        told.append(dict(done.rows))
        marts(of, done)
    return told


def taken(root: Path, batches: Sequence[int], seed: int = 3, domain: object = READS_TITLES) -> Shop:
    """A feed taken in up to some offsets at a time, before its reference table is there."""
    assert isinstance(domain, type(READS_TITLES))
    of = Shop(root / "lake", feed(seed, 60), domain)
    for start, end in zip([0, *batches], [*batches, 1000], strict=True):
        for topic in domain.topics:
            cut = [OffsetRange(item.partition, min(start, item.end), min(end, item.end)) for item in of.whole(topic)]
            of.take(topic, cut)
    marts(of)
    return of


def at_once(root: Path, seed: int = 3) -> Shop:
    """The same with the table there from the beginning."""
    of = Shop(root / "whole", feed(seed, 60), READS_TITLES)
    load(of)
    of.take_all()
    return of


def test_a_table_that_comes_later_fills_the_rows_and_their_windows(tmp_path: Path) -> None:
    of = taken(tmp_path, [8, 20])
    assert of.silver("order_placed")["product_title"].null_count() == of.silver("order_placed").height
    assert fill(Sources(of.lake, of.domain), max_rows=100, now=of.now) is None
    load(of)
    of.now += HOUR
    (rows,) = passes(of)
    assert rows == {"order_placed.item": of.silver("order_placed").height}
    assert of.silver("order_placed")["item_enriched_at"].unique().to_list() == [of.now]
    shop.same(facts(of), facts(at_once(tmp_path)))
    assert mark(of) == 2**62


@pytest.mark.parametrize("max_rows", [1, 7, 25])
def test_slice_by_slice(tmp_path: Path, max_rows: int) -> None:
    of = taken(tmp_path, [5, 10, 15, 20])
    load(of)
    batches = of.silver("order_placed").group_by("_ingested_at").len()["len"]
    told = [rows.get("order_placed.item", 0) for rows in passes(of, max_rows)]
    assert sum(told) == of.silver("order_placed").height
    assert max(told) <= max(max_rows, *batches)
    shop.same(facts(of), facts(at_once(tmp_path)))


def test_only_the_windows_of_the_rows_filled_are_recomputed(tmp_path: Path) -> None:
    days = [f"2024-07-0{day}T10:00:00Z" for day in range(1, 6)]
    values = [placed(number, placed_at=at, occurred_at=at) for number, at in enumerate(days)]
    of = shop_of(tmp_path, *values, domain=READS_TITLES, loaded=False)
    of.take(ORDERS, [OffsetRange(0, 0, 2)])
    load(of)
    of.take(ORDERS, [OffsetRange(0, 2, 5)])
    marts(of)
    done = fill(Sources(of.lake, of.domain), max_rows=100, now=of.now)
    assert done is not None
    assert done.rows == {"order_placed.item": 2}
    assert marts(of, done) == {"sales_hourly": 2, "sales_daily": 2, "days_of_hours": 2}
    assert of.gold("sales_daily")["title"].to_list() == ["Mug"] * 5
    assert marts(of) == {}


def test_rows_that_come_in_the_same_round_are_counted_too(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, placed_at="2024-07-04T10:00:00Z"), domain=READS_TITLES, loaded=False)
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    marts(of)
    load(of)
    of.take(ORDERS, [OffsetRange(0, 1, 2)])
    marts(of, fill(Sources(of.lake, of.domain), max_rows=100, now=of.now))
    assert of.gold("sales_daily").sort("day").select("title", "orders").rows() == [("Mug", 1), ("Mug", 1)]


def test_died_between_silver_and_gold(tmp_path: Path) -> None:
    of = taken(tmp_path, [10])
    load(of)
    assert fill(Sources(of.lake, of.domain), max_rows=100, now=of.now) is not None
    marts(of)
    shop.same(facts(of), facts(at_once(tmp_path)))


def test_an_enrichment_added_to_a_table_that_stands(tmp_path: Path) -> None:
    plain = taken(tmp_path, [10], domain=shop.domain())
    of = plain.under(ENRICHED)
    of.take(ORDERS, [OffsetRange(item.partition, item.end, item.end) for item in of.whole(ORDERS)])
    load(of)
    passes(of, max_rows=10)
    whole = Shop(tmp_path / "whole", of.values, ENRICHED)
    load(whole)
    whole.take_all()
    marts(of)
    expected = facts(whole)["silver.order_placed"]
    # A column that came later stands behind those of the table.
    assert shop.ordered(facts(of)["silver.order_placed"].select(expected.columns)).equals(expected)
    assert mark(of) == 2**62


def test_a_table_that_cannot_be_read_is_stuck_and_nothing_is_written(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), loaded=False)
    take(of)
    load(of)
    for file in (of.root / "reference/products").glob("*.parquet"):
        file.unlink()
    versions = of.versions()
    done = fill(Sources(of.lake, of.domain), max_rows=100, now=of.now)
    assert done is not None
    assert (done.rows, done.stuck) == ({}, True)
    assert of.versions() == versions
    assert found(of) == [(0, None, None)]


def test_an_unknown_key_is_filled_with_nothing_and_counted(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, "cup"), loaded=False)
    take(of)
    load(of)
    done = fill(Sources(of.lake, of.domain), max_rows=100, now=of.now)
    assert done is not None
    assert (done.rows, done.unknown) == ({"order_placed.item": 2}, {"order_placed.item": 1})
    assert found(of) == [(0, "Mug", of.now), (1, None, of.now)]
    assert fill(Sources(of.lake, of.domain), max_rows=100, now=of.now) is None


def test_of_two_enrichments_one_waits(tmp_path: Path) -> None:
    """The table is there and one of its columns is not: each enrichment fails alone."""
    domain = shop.domain(enrich=ITEM)
    (event,) = domain.versions_of("order_placed")
    (item,) = event.enrichments
    gone = replace(item, name="shelf", take={"place": "shelf"}, columns=(replace(item.columns[0], name="shelf"),))
    (products,) = domain.references
    wide = replace(products, fields=(*products.fields, replace(products.fields[1], name="place", required=False)))
    both = replace(
        domain,
        references=(wide,),
        events=tuple(
            replace(one, enrichments=(item, gone)) if one.name == "order_placed" else one for one in domain.events
        ),
    )
    of = shop_of(tmp_path, placed(1), domain=domain, loaded=False)
    take(of)
    load(of)
    now = of.under(both)
    assert passes(now) == [{"order_placed.item": 1}]
    rows = now.silver("order_placed").select("product_title", "shelf", "shelf_enriched_at").rows()
    assert rows == [("Mug", None, None)]


def test_a_rebuild_fills_too_and_leaves_nothing_to_do(tmp_path: Path) -> None:
    of = taken(tmp_path, [10])
    load(of)
    assert rebuild(of.domain, of.settings, START, START + HOUR, clock=of.clock).changed
    shop.same(facts(of), facts(at_once(tmp_path)))
    done = fill(Sources(of.lake, of.domain), max_rows=100, now=of.now)
    assert done is not None
    assert done.rows == {}
    assert fill(Sources(of.lake, of.domain), max_rows=100, now=of.now) is None


def test_rows_missing_again_after_all_were_filled(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2))
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    files = list((of.root / "reference/products").glob("*.parquet"))
    for file in files:
        file.rename(file.with_suffix(".away"))
    of.take(ORDERS, [OffsetRange(0, 1, 2)])
    first = of.silver("order_placed").filter(pl.col("_offset") == 1)["_ingested_at"].item()
    assert mark(of) == int(first.timestamp()) * 1000
    for file in files:
        file.with_suffix(".away").rename(file)
    assert passes(of) == [{"order_placed.item": 1}]
    assert [title for _, title, _ in found(of)] == ["Mug", "Mug"]
    assert silver.rewrites(of.lake, of.domain)["order_placed"] == 1
