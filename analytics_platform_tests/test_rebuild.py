import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from analytics_platform import bronze, derive, gold, quarantine, silver
from analytics_platform.errors import MartBroken
from analytics_platform.judge import judge
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import TableSpec
from analytics_platform.rebuild import rebuild, slices
from analytics_platform.report import RebuildReport
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, START, VISITS, Shop, feed, order

HOUR = timedelta(hours=1)
FEED = feed(21, 80)
PLACED = silver.spec(shop.domain().versions_of("order_placed"))


@cache
def template() -> tuple[TemporaryDirectory[str], Shop]:
    """The feed, taken in in several micro-batches, two of them an hour later; built once, copied for each test."""
    folder = TemporaryDirectory(prefix="rebuild-")
    of = Shop(Path(folder.name) / "lake", FEED)
    for start, end in ((0, 10), (10, 20), (20, 100)):
        if start == 20:
            of.now = START + HOUR
        for topic in of.domain.topics:
            whole = of.whole(topic)
            of.take(topic, [OffsetRange(item.partition, min(start, item.end), min(end, item.end)) for item in whole])
    of.refresh()
    shop.once(of)
    return folder, of


def built(root: Path, batch_rows: int = 100_000) -> Shop:
    """A lake of its own, as the template has it."""
    _, of = template()
    shutil.copytree(of.root, root / "lake")
    return Shop(root / "lake", FEED, batch_rows=batch_rows, now=of.now)


def again(of: Shop, first: int = 0, last: int = 2, **rest: Any) -> RebuildReport:
    """Rebuild some of the two hours."""
    return rebuild(of.domain, of.settings, START + first * HOUR, START + last * HOUR, clock=of.clock, **rest)


def damage(of: Shop, spec: TableSpec, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    rows = of.rows(spec)
    commit(of.lake, spec, lambda _table, _left: Change(change(rows), replaces_all=True))


# --- nothing to do ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_rows", [100_000, 7])
def test_without_a_reason_no_table_gets_a_new_version(tmp_path: Path, batch_rows: int) -> None:
    of = built(tmp_path, batch_rows=batch_rows)
    versions = of.versions()
    report = again(of)
    assert not report.changed
    assert report.records == sum(len(values) for parts in FEED.values() for values in parts.values())
    assert of.versions() == versions


def test_an_empty_lake(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", FEED)
    report = again(of)
    assert (report.records, report.changed) == (0, False)


def test_hours_without_records(tmp_path: Path) -> None:
    of = built(tmp_path)
    versions = of.versions()
    assert again(of, 5, 6).records == 0
    assert of.versions() == versions


# --- damage ---------------------------------------------------------------------------------------------------------------


def altered(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(cents=pl.col("cents") + pl.int_range(pl.len()) % 3)


def foreign(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that no record stands behind, in both hours."""
    more = pl.concat([rows.sort("_ingested_at").head(3), rows.sort("_ingested_at").tail(3)])
    more = more.with_columns(idempotency_key="foreign-" + pl.col("idempotency_key"), _offset=pl.col("_offset") + 10_000)
    return pl.concat([rows, more])


def copied_later(rows: pl.DataFrame) -> pl.DataFrame:
    """Copies of the first hour's rows that claim to have come in the second."""
    early = rows.filter(pl.col("_ingested_at") < START + HOUR).head(5)
    return pl.concat([rows, early.with_columns(_ingested_at=pl.lit(START + HOUR + timedelta(minutes=1)))])


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.clear(),
        lambda rows: rows.gather_every(2),
        lambda rows: pl.concat([rows, rows.gather_every(3)]),
        altered,
        foreign,
        copied_later,
        lambda rows: altered(foreign(rows.gather_every(2))),
    ],
    ids=["all gone", "half gone", "doubled", "altered", "foreign", "copied later", "everything"],
)
def test_damage_to_silver_is_mended_exactly_and_gold_too(
    tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    of = built(tmp_path, batch_rows=25)
    before = of.exact()
    damage(of, PLACED, change)
    commit(of.lake, PLACED, lambda _t, _l: Change(of.silver("order_placed").clear(), progress={silver.REWRITES: 1}))
    of.refresh()  # the damage reaches the marts
    assert again(of).changed
    assert shop.same(of.exact(), before)
    assert not again(of).changed


def test_damage_is_counted(tmp_path: Path) -> None:
    of = built(tmp_path)
    damage(of, PLACED, lambda rows: pl.concat([rows.head(3), rows.slice(5), rows.head(1)]))
    report = again(of)
    assert (report.removed["silver.order_placed"], report.added["silver.order_placed"]) == (1, 2)
    assert report.rows["silver.order_placed"] == of.silver("order_placed").height


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.clear(),
        lambda rows: rows.gather_every(2),
        lambda rows: pl.concat([rows, rows.head(2)]),
        lambda rows: pl.concat([rows, rows.head(2).with_columns(offset=pl.col("offset") + 10_000)]),
    ],
    ids=["all gone", "half gone", "doubled", "foreign"],
)
def test_damage_to_the_quarantine_is_mended(tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    of = built(tmp_path)
    before = of.business()
    damage(of, quarantine.spec("shop"), change)
    assert again(of).changed
    assert shop.same(of.business(), before)
    assert not again(of).changed


def test_only_the_hours_asked_for_are_touched(tmp_path: Path) -> None:
    of = built(tmp_path)
    complete = of.silver("order_placed")
    damage(of, PLACED, lambda rows: rows.clear())
    again(of, 1, 2)
    late = complete.filter(pl.col("_ingested_at") >= START + HOUR)["idempotency_key"]
    assert set(late) <= set(of.silver("order_placed")["idempotency_key"])
    assert (of.silver("order_placed")["_ingested_at"] >= START + HOUR).all()


def test_hours_that_begin_and_end_within_a_millisecond(tmp_path: Path) -> None:
    of = built(tmp_path)
    complete = of.silver("order_placed")
    damage(of, PLACED, lambda rows: rows.clear())
    instants = sorted(set(complete["_ingested_at"]))
    finest = timedelta(microseconds=1)
    rebuild(of.domain, of.settings, instants[0] + finest, instants[1] + finest, clock=of.clock)
    assert set(of.silver("order_placed")["_ingested_at"]) == {instants[1]}


def test_gold_alone_is_made_again_from_silver(tmp_path: Path) -> None:
    of = built(tmp_path)
    before = of.exact()
    mart = gold.spec(of.domain.marts[1])
    damage(of, mart, lambda rows: rows.gather_every(2).with_columns(placed=pl.col("placed") + 1))
    again(of, layers=frozenset({"gold"}))
    assert shop.same(of.exact(), before)


def test_a_broken_mart_does_not_hold_up_the_others(tmp_path: Path) -> None:
    of = built(tmp_path)
    before = of.exact()
    damage(of, gold.spec(of.domain.marts[1]), lambda rows: rows.clear())
    first, second = of.domain.marts
    assert second.name == "sales_hourly"
    broken = of.under(replace(of.domain, marts=(replace(first, sql="SELEC"), second)))
    with pytest.raises(MartBroken):
        again(broken)
    assert shop.same(of.exact(), before)


# --- contracts ------------------------------------------------------------------------------------------------------------


def test_a_contract_made_stricter_and_mended_again(tmp_path: Path) -> None:
    of = built(tmp_path)
    before = of.business()
    strict = of.under(shop.domain(most_cents=1_000))
    assert again(strict).changed
    shop.once(strict)
    assert strict.silver("order_placed").height < before["silver.order_placed"].height
    assert again(of).changed
    shop.once(of)
    after = of.business()
    healed = after.pop("quarantine.shop")
    waiting = healed.filter(pl.col("status") == "new")
    was = before.pop("quarantine.shop")
    assert waiting.drop("contract_digest").equals(was.drop("contract_digest"))
    assert set(healed["status"]) == {"new", "replayed"}
    assert shop.same(after, before)


def test_a_field_added_later_is_filled_in(tmp_path: Path) -> None:
    values = {ORDERS: {0: [order(order_id="a", note="hello"), order(order_id="b")]}, VISITS: {}}
    of = Shop(tmp_path / "lake", values)
    of.take_all()
    wider = of.under(shop.domain(extra="      - {name: note, logicalType: string}\n"))
    again(wider)
    assert wider.silver("order_placed").select("order_id", "note").sort("order_id").rows() == [
        ("a", "hello"),
        ("b", None),
    ]


def test_a_first_copy_that_becomes_good_takes_the_place_of_a_later_one(tmp_path: Path) -> None:
    """Silver is a function of bronze: as if the contract had been right from the beginning."""
    values = {ORDERS: {0: [order(cents=5_000), order(cents=200), order(order_id="b")]}, VISITS: {}}
    of = Shop(tmp_path / "lake", values, shop.domain(most_cents=1_000), batch_rows=1)
    for offset in range(3):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
    of.refresh()
    assert sorted(of.silver("order_placed")["_offset"]) == [1, 2]
    lax = of.under(shop.domain())
    report = again(lax)
    assert sorted(lax.silver("order_placed")["_offset"]) == [0, 2]
    assert (report.removed["silver.order_placed"], report.added["silver.order_placed"]) == (1, 1)
    assert lax.gold("sales_daily")["cents"].to_list() == [5_100]
    shop.once(lax)
    assert not again(lax).changed


# --- beside a stream ----------------------------------------------------------------------------------------------------


def test_silver_that_lags_bronze_is_left_to_the_stream(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", FEED)
    of.take(ORDERS, [OffsetRange(0, 0, 10)])
    of.refresh()
    of.pour(ORDERS, [OffsetRange(0, 10, 20), OffsetRange(1, 0, 10)])
    assert not again(of).changed
    of.catch_up(ORDERS)
    of.refresh()
    shop.once(of)
    assert not again(of).changed


def test_contracts_changed_while_silver_lags(tmp_path: Path) -> None:
    values = {ORDERS: {0: [order(order_id=f"o{n}", cents=n) for n in (1, 5_000)]}, VISITS: {}}
    of = Shop(tmp_path / "lake", values, shop.domain(most_cents=1_000))
    part = of.pour(ORDERS, of.whole(ORDERS))
    judged = judge(part.records, of.domain.events_of(ORDERS))
    derive._take_rejected(of.lake, of.domain, part, judged, of.now)
    lax = of.under(shop.domain())
    again(lax)
    lax.catch_up(ORDERS)
    shop.once(lax)
    assert lax.silver("order_placed").height == 2


def test_the_stream_goes_on_after_a_rebuild(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", FEED)
    whole = of.whole(ORDERS)
    of.take(ORDERS, [OffsetRange(item.partition, 0, 10) for item in whole])
    of.refresh()
    damage(of, PLACED, lambda rows: rows.head(2))
    again(of)
    of.take(ORDERS, [OffsetRange(item.partition, 10, item.end) for item in whole])
    of.take(VISITS, of.whole(VISITS))
    of.refresh()
    undisturbed = Shop(tmp_path / "undisturbed", FEED)
    undisturbed.take_all()
    assert shop.same(of.business(), undisturbed.business())


def test_died_between_silver_and_gold(tmp_path: Path) -> None:
    of = built(tmp_path)
    before = of.exact()
    damage(of, PLACED, lambda rows: rows.gather_every(2))
    commit(of.lake, PLACED, lambda _t, _l: Change(of.silver("order_placed").clear(), progress={silver.REWRITES: 1}))
    of.refresh()
    again(of, layers=frozenset({"silver"}))
    of.refresh()
    assert shop.same(of.exact(), before)


# --- slices -------------------------------------------------------------------------------------------------------------


def test_slices_follow_each_other_and_split_no_batch(tmp_path: Path) -> None:
    of = built(tmp_path)
    hours = (START, START + 2 * HOUR)
    found = list(slices(of.lake, ORDERS, hours, 25))
    assert (found[0][0], found[-1][1]) == hours
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
    at = Snapshot.of(of.lake.ensure(bronze.spec(ORDERS))).scan().collect()["ingested_at"]
    counts = [int(((at >= start) & (at < end)).sum()) for start, end in found]
    assert len(counts) > 1
    assert sum(counts) == at.len()
    assert list(slices(of.lake, ORDERS, hours, 100_000)) == [hours]


def test_what_changed_in_gold_and_in_the_quarantine_is_told(tmp_path: Path) -> None:
    of = built(tmp_path)
    strict = of.under(shop.domain(most_cents=1_000))
    report = again(strict, layers=frozenset({"silver"}))
    worse = report.added["quarantine.shop"]  # duplicates of rows that are bad now are bad too
    assert worse >= report.removed["silver.order_placed"] > 0
    later = again(strict, layers=frozenset({"gold"}))
    assert later.changed
    assert later.removed["gold.sales_hourly"] > 0
    healed = again(of)
    assert healed.removed["quarantine.shop"] == healed.added["quarantine.shop"] == worse
    assert healed.added["gold.sales_hourly"] == later.removed["gold.sales_hourly"]
