"""Columns that rows get from reference tables, as the stream, a replay and a rebuild give them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform import derive, quarantine, reference, silver
from analytics_platform.contract.model import Domain
from analytics_platform.contract.schema import INSTANT
from analytics_platform.enrich import Sources, enriched
from analytics_platform.enrich.answer import State
from analytics_platform.enrich.missing import COMPLETE, missing_id
from analytics_platform.enrich.table import References
from analytics_platform.judge import judge
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.table import Lake, TableSpec
from analytics_platform.rebuild import rebuild
from analytics_platform.reference import load_reference
from analytics_platform.replay import replay
from analytics_platform.selection import Selection
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, START, Shop, feed, order

ITEM = "{item: {reference: products, on: {product: product}, take: {title: product_title}}}"
STRICT_ITEM = ITEM.replace("}}}", "}, unknown: quarantine}}")
ENRICHED = shop.domain(enrich=ITEM)
STRICT = shop.domain(enrich=STRICT_ITEM)
PLACED = silver.spec(ENRICHED.versions_of("order_placed"))
HOUR = timedelta(hours=1)


def shop_of(root: Path, *values: bytes, domain: Domain = ENRICHED, loaded: bool = True) -> Shop:
    """Orders on one partition, and the reference table unless it is not there."""
    of = Shop(root / "lake", {ORDERS: {0: values}, shop.VISITS: {0: ()}}, domain)
    if loaded:
        load(of)
    return of


def load(of: Shop) -> None:
    for item in of.domain.files:
        load_reference(of.lake, item, of.now)


def placed(number: int, product: str = "mug", **rest: Any) -> bytes:
    return order(order_id=f"o-{number}", product=product, **rest)


def take(of: Shop) -> derive.Taken:
    return of.take(ORDERS, of.whole(ORDERS))


def found(of: Shop) -> list[tuple[int, str | None, datetime | None]]:
    rows = of.silver("order_placed").sort("_offset")
    return rows.select("_offset", "product_title", "item_enriched_at").rows()


def mark(of: Shop) -> int | None:
    table = Lake(of.root).newest(PLACED)
    assert table is not None
    (item,) = ENRICHED.versions_of("order_placed")[0].enrichments
    return table.transaction_version(missing_id(item))


def again(of: Shop, *layers: str) -> bool:
    asked = frozenset(layers or ("silver", "gold"))
    return rebuild(of.domain, of.settings, START, START + HOUR, layers=asked, clock=of.clock).changed


# --- one row ------------------------------------------------------------------------------------------------------------


def test_a_key_the_table_knows_and_one_it_does_not(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, "cup"), placed(3, "pen"))
    taken = take(of)
    assert found(of) == [(0, "Mug", of.now), (1, None, of.now), (2, "Pen", of.now)]
    assert (taken.unknown, taken.missing) == ({"order_placed.item": 1}, {})
    assert mark(of) == COMPLETE


def test_a_row_without_a_key_is_not_unknown(tmp_path: Path) -> None:
    extra = "      - {name: gift, logicalType: string}"
    strict = shop.domain(extra=extra, enrich=STRICT_ITEM.replace("product: product", "product: gift"))
    of = shop_of(tmp_path, placed(1), placed(2, gift="pen"), domain=strict)
    taken = take(of)
    assert found(of) == [(0, None, of.now), (1, "Pen", of.now)]
    assert taken.unknown == {}


def test_a_table_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, "cup"), domain=STRICT, loaded=False)
    taken = take(of)
    assert found(of) == [(0, None, None), (1, None, None)]
    assert (taken.unknown, taken.missing) == ({}, {"order_placed.item": 2})
    assert mark(of) == int(of.now.timestamp()) * 1000


def test_a_table_whose_file_is_gone_stops_nothing(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1))
    for file in (of.root / "reference/products").glob("*.parquet"):
        file.unlink()
    assert take(of).missing == {"order_placed.item": 1}
    assert found(of) == [(0, None, None)]


def test_a_table_that_has_not_got_the_column_yet(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), loaded=False)
    older = TableSpec("reference", "products", {"product": pl.String()}, ("product",))
    commit(of.lake, older, lambda _table, _left: Change(pl.DataFrame({"product": ["mug"]})))
    assert take(of).missing == {"order_placed.item": 1}


# --- a table with history -----------------------------------------------------------------------------------------------


def day(number: int) -> datetime:
    return datetime(2024, 7, number, tzinfo=UTC)


def with_history(of: Shop, *rows: tuple[str, str, datetime, datetime | None]) -> None:
    spec = reference.spec_of(of.domain, "products")
    wide = replace(spec, schema={**spec.schema, "_valid_from": INSTANT, "_valid_to": INSTANT})
    frame = pl.DataFrame(rows, schema=wide.schema, orient="row")
    commit(of.lake, wide, lambda _table, _left: Change(frame, replaces_all=True))


def test_what_was_valid_at_the_time_of_the_event(tmp_path: Path) -> None:
    times = [day(1), day(2), day(3) - timedelta(microseconds=1), day(3), day(4), day(5), day(9)]
    values = [placed(number, occurred_at=at.isoformat()) for number, at in enumerate(times)]
    of = shop_of(tmp_path, *values, placed(9, "pen", occurred_at=day(9).isoformat()), loaded=False)
    with_history(
        of,
        ("mug", "Newest", day(5), None),
        ("pen", "Pen", day(1), None),
        ("mug", "Oldest", day(2), day(3)),
        ("mug", "Middle", day(3), day(4)),
    )
    taken = take(of)
    titles = [title for _, title, _ in found(of)]
    assert titles == [None, "Oldest", "Oldest", "Middle", None, "Newest", "Newest", "Pen"]
    assert taken.unknown == {"order_placed.item": 2}


def test_as_of_another_time(tmp_path: Path) -> None:
    domain = shop.domain(enrich=ITEM.replace("}}}", "}, asOf: placed_at}}"))
    of = shop_of(tmp_path, placed(1, placed_at=day(2).isoformat(), occurred_at=day(4).isoformat()), domain=domain)
    with_history(of, ("mug", "Older", day(1), day(3)), ("mug", "Newer", day(3), None))
    take(of)
    assert found(of) == [(0, "Older", of.now)]


# --- quarantine -----------------------------------------------------------------------------------------------------------


def test_an_unknown_key_goes_to_quarantine_where_the_contract_says_so(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, "cup"), b"{", placed(2, "cup"), domain=STRICT)
    taken = take(of)
    assert found(of) == [(0, "Mug", of.now)]
    rows = of.quarantine().sort("offset").select("offset", "codes", "reasons", "event_type", "contract")
    words = "item: reference.products knows nothing of its product"
    assert rows.rows()[0] == (1, ["unknown_reference"], [words], "order_placed", "order_placed@1.0.0")
    assert rows["offset"].to_list() == [1, 2, 3]
    (account,) = taken.accounts.values()
    assert (account.read, account.kept, account.duplicate, account.quarantined) == (4, 1, 0, 3)
    assert taken.reasons == {"malformed_json": 1, "unknown_reference": 2}


def test_replayed_once_the_table_knows_the_key(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, "cup"), domain=STRICT)
    take(of)
    more = of.under(shop.domain(enrich=STRICT_ITEM, products="product,title\nmug,Mug\ncup,Cup\n"))
    load(more)
    report = replay(more.domain, more.settings, Selection(), clock=more.clock, by="me")
    assert report.entered == {"silver.order_placed": 1}
    assert [title for _, title, _ in found(more)] == ["Mug", "Cup"]
    assert more.quarantine()["status"].to_list() == ["replayed"]
    assert not again(more)


def test_the_table_learns_a_key_between_quarantine_and_silver(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, "cup"), domain=STRICT)
    part = of.pour(ORDERS, of.whole(ORDERS))
    dead = enriched(judge(part.records, of.domain.events_of(ORDERS)), of.domain, Sources(of.lake, of.domain), of.now)
    derive._take_rejected(of.lake, of.domain, part, dead.judged, of.now)
    more = of.under(shop.domain(enrich=STRICT_ITEM, products="product,title\nmug,Mug\ncup,Cup\n"))
    load(more)
    more.catch_up(ORDERS)
    assert [title for _, title, _ in found(more)] == ["Mug", "Cup"]
    assert more.quarantine().filter(pl.col("status") == quarantine.NEW).is_empty()


# --- the same tables ------------------------------------------------------------------------------------------------------


def facts(of: Shop) -> dict[str, pl.DataFrame]:
    """Every table, but for the time of enriching: it is when a row was taken in."""
    return {title: rows.drop("item_enriched_at", strict=False) for title, rows in of.business().items()}


@settings(max_examples=4, deadline=None)
@given(st.data())
@pytest.mark.parametrize("domain", [ENRICHED, STRICT], ids=["null", "quarantine"])
def test_tables_do_not_depend_on_cuts_and_a_rebuild_finds_nothing_to_mend(
    domain: Domain, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    values = feed(data.draw(st.integers(1, 5)), 40)
    whole, cut = (Shop(tmp_path_factory.mktemp("cut"), values, domain) for _ in range(2))
    load(whole)
    load(cut)
    whole.take_all()
    for topic in domain.topics:
        ends = {item.partition: item.end for item in cut.whole(topic)}
        have = dict.fromkeys(ends, 0)
        while have != ends:
            upto = {item: data.draw(st.integers(have[item], end)) for item, end in ends.items()}
            upto = ends if upto == have else upto
            cut.take(topic, [OffsetRange(item, have[item], upto[item]) for item in ends])
            have = upto
    cut.refresh()
    shop.same(facts(cut), facts(whole))
    versions = cut.versions()
    assert not again(cut)
    assert cut.versions() == versions


def test_the_records_of_silver_say_what_json_said(tmp_path: Path) -> None:
    """No row gets the columns of another one, whatever their order."""
    values = [placed(number, "mug" if number % 3 else "pen") for number in range(30)]
    of = shop_of(tmp_path, *values)
    take(of)
    titles = [{"mug": "Mug", "pen": "Pen"}[json.loads(value)["product"]] for value in values]
    assert [title for _, title, _ in found(of)] == titles


# --- rebuild --------------------------------------------------------------------------------------------------------------


def test_what_a_table_says_later_comes_with_a_rebuild(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, "pen"))
    take(of)
    taken_at = of.now
    later = of.under(shop.domain(enrich=ITEM, products="product,title\nmug,Large mug\npen,Pen\n"))
    later.now += HOUR
    load(later)
    assert found(later) == [(0, "Mug", taken_at), (1, "Pen", taken_at)]
    assert again(later)
    assert found(later) == [(0, "Large mug", later.now), (1, "Pen", taken_at)]


def test_a_rebuild_while_the_table_cannot_be_read_keeps_what_is_known(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1))
    take(of)
    before = found(of)
    for file in (of.root / "reference/products").glob("*.parquet"):
        file.unlink()
    assert not again(of, "silver")
    assert found(of) == before


# --- by the history of a file --------------------------------------------------------------------------------------------


def test_as_of_the_versions_of_a_file_and_as_ever_once_it_keeps_none(tmp_path: Path) -> None:
    of = shop_of(tmp_path, loaded=False)
    (item,) = ENRICHED.versions_of("order_placed")[0].enrichments
    (products,) = ENRICHED.files
    file = tmp_path / "products.csv"
    table = replace(products, history=True, file=file)
    kept = References(of.lake, replace(of.domain, references=(table,)))
    for hour, text in ((8, "mug,Mug\npen,Pen\n"), (10, "pen,Pen\n"), (12, "pen,Biro\n")):
        file.write_text("product,title\n" + text)
        load_reference(of.lake, table, START.replace(hour=hour))
    hours = [START.replace(hour=hour) for hour in (7, 9, 11, 13)]
    rows = pl.DataFrame(
        [(name, at) for name in ("mug", "pen") for at in hours], schema=["product", item.as_of], orient="row"
    )
    answered = kept.answered(rows, item)
    assert answered.columns.to_series().to_list() == [None, "Mug", None, None, None, "Pen", "Pen", "Biro"]
    assert answered.states.to_list()[:4] == [State.UNKNOWN, State.KNOWN, State.UNKNOWN, State.UNKNOWN]
    plain = replace(table, history=False, header=replace(table.header, digest="0" * 64))
    load_reference(of.lake, plain, START.replace(hour=14))
    later = References(of.lake, replace(of.domain, references=(plain,)))
    assert later.answered(rows, item).columns.to_series().to_list() == [None] * 4 + ["Biro"] * 4
