"""Columns that rows get from outside services: whoever asks them is of the test's own making, with the real answers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analytics_platform import derive
from analytics_platform.enrich import Sources
from analytics_platform.fill import fill
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lookup.answer import NOT_FOUND, Answer, Found, Key, Unavailable
from analytics_platform.lookup_settings import LookupSettings
from analytics_platform.rebuild import rebuild
from analytics_platform.replay import replay
from analytics_platform.selection import Selection
from analytics_platform.settings import Settings
from analytics_platform_tests import prices, shop
from analytics_platform_tests.shop import ORDERS, START, Shop
from analytics_platform_tests.test_enrich import HOUR, placed

RATE = "{rate: {lookup: prices, on: [product], take: {euros: number}}}"
PRICED = shop.domain(enrich=RATE)
STRICT = shop.domain(enrich=RATE.replace("}}}", "}, unknown: quarantine}}"))
DOWN = Unavailable("HTTP 503")


@dataclass
class Prices:
    """A service that knows what it is told, and counts what it is asked."""

    known: dict[str | int | None, Answer] = field(default_factory=dict)
    asked: list[Key] = field(default_factory=list)

    def ask(self, name: str, keys: Iterable[Key]) -> Mapping[Key, Answer]:
        assert name == "prices"
        wanted = list(keys)
        self.asked += wanted
        return {key: self.known.get(key[0], NOT_FOUND) for key in wanted}


def shop_of(root: Path, *products: str, domain: Any = PRICED) -> Shop:
    values = [placed(number, product) for number, product in enumerate(products)]
    return Shop(root / "lake", {ORDERS: {0: values}, shop.VISITS: {0: ()}}, domain)


def take(of: Shop, service: Prices, start: int = 0, end: int | None = None) -> derive.Taken:
    end = len(of.values[ORDERS][0]) if end is None else end
    part = of.pour(ORDERS, [OffsetRange(0, start, end)])
    return derive.take_in(of.lake, of.domain, part, now=of.now, lookups=service)


@pytest.fixture(autouse=True)
def _knows_nothing() -> Iterator[None]:
    yield
    prices.KNOWN.clear()
    prices.DOWN.clear()


def asking(of: Shop) -> Settings:
    """The settings of a shop that asks a function."""
    return replace(of.settings, lookups=(LookupSettings("prices", function="analytics_platform_tests.prices:euros"),))


def euros(of: Shop) -> list[tuple[float | None, bool]]:
    """What each row has, and whether it has been asked for."""
    rows = of.silver("order_placed").sort("_offset")
    return rows.select("euros", pl.col("rate_enriched_at").is_not_null()).rows()


def test_every_key_is_asked_for_once(tmp_path: Path) -> None:
    service = Prices({"mug": Found({"euros": 8.5}), "pen": Found({"euros": 2, "cents": 200}), "cap": DOWN})
    of = shop_of(tmp_path, "mug", "pen", "mug", "cup", "cap", "pen")
    taken = take(of, service)
    assert euros(of) == [(8.5, True), (2.0, True), (8.5, True), (None, True), (None, False), (2.0, True)]
    assert sorted(service.asked) == [("cap",), ("cup",), ("mug",), ("pen",)]
    assert (taken.unknown, taken.missing) == ({"order_placed.rate": 1}, {"order_placed.rate": 1})


def test_a_row_without_a_key_is_asked_for_with_nobody(tmp_path: Path) -> None:
    extra = "      - {name: gift, logicalType: string}"
    domain = shop.domain(extra=extra, enrich=RATE.replace("[product]", "[gift, product]"))
    of = shop_of(tmp_path, "mug", domain=domain)
    service = Prices()
    take(of, service)
    assert euros(of) == [(None, True)]
    assert service.asked == []


def test_an_unknown_key_is_quarantined_and_replayed(tmp_path: Path) -> None:
    of = shop_of(tmp_path, "mug", "cup", domain=STRICT)
    take(of, Prices({"mug": Found({"euros": 8})}))
    assert euros(of) == [(8.0, True)]
    reasons = of.quarantine()["reasons"].to_list()
    assert reasons == [["rate: the lookup prices knows nothing of its product"]]
    prices.KNOWN["cup"] = 4
    replay(of.domain, asking(of), Selection(), clock=of.clock, by="me")
    assert euros(of) == [(8.0, True), (4.0, True)]


def test_a_service_that_is_down_for_one_key_does_not_hold_up_the_others(tmp_path: Path) -> None:
    of = shop_of(tmp_path, "cap", "mug", "cap", "pen")
    service = Prices(dict.fromkeys(("cap", "mug", "pen"), DOWN))
    for offset in range(4):
        take(of, service, offset, offset + 1)
    service.known |= {"mug": Found({"euros": 8}), "pen": Found({"euros": 2})}
    sources, after, told = Sources(of.lake, of.domain, service), dict[str, datetime](), []
    for _ in range(5):
        done = fill(sources, max_rows=1, now=of.now, after=after)
        assert done is not None
        after = dict(done.after)
        told.append((dict(done.rows), done.stuck))
    one = {"order_placed.rate": 1}
    assert told == [({}, True), (one, False), ({}, True), (one, False), ({}, True)]
    assert euros(of) == [(None, False), (8.0, True), (None, False), (2.0, True)]
    service.known["cap"] = Found({"euros": 1})
    while (done := fill(sources, max_rows=1, now=of.now, after=after)) is not None:
        after = dict(done.after)
    assert euros(of) == [(1.0, True), (8.0, True), (1.0, True), (2.0, True)]


def test_a_rebuild_without_a_reason_and_one_while_the_service_is_down(tmp_path: Path) -> None:
    of = shop_of(tmp_path, "mug", "cup")
    take(of, Prices({"mug": Found({"euros": 8})}))
    before = of.silver("order_placed").sort("_offset")

    def again() -> bool:
        silver = frozenset({"silver"})
        return rebuild(of.domain, asking(of), START, START + HOUR, layers=silver, clock=of.clock).changed

    of.now += HOUR
    prices.KNOWN["mug"] = 8
    assert not again()
    prices.DOWN |= {"mug", "cup"}
    assert not again()
    assert of.silver("order_placed").sort("_offset").equals(before)
    prices.DOWN.clear()
    prices.KNOWN["mug"] = 9
    assert again()
    assert euros(of) == [(9.0, True), (None, True)]


KINDS = {
    "string": [("a", "a"), (1, None), (None, None)],
    "integer": [(1, 1), (2**63, None), (1.0, None), (True, None), ("1", None)],
    "number": [(1.5, 1.5), (1, 1.0), ("1", None), (True, None), (10**400, None)],
    "boolean": [(True, True), (0, None)],
    "timestamp": [
        ("2024-07-01T12:00:00+02:00", datetime(2024, 7, 1, 10, tzinfo=UTC)),
        ("2024-07-01T12:00:00", None),
        ("yesterday", None),
        (7, None),
    ],
    "date": [("2024-07-01", date(2024, 7, 1)), ("2024-07-32", None), (7, None)],
}


@pytest.mark.parametrize(
    ("kind", "value", "expected"), [(kind, *case) for kind, cases in KINDS.items() for case in cases]
)
def test_an_answer_of_another_type_is_none(tmp_path: Path, kind: str, value: Any, expected: Any) -> None:
    of = shop_of(tmp_path, "mug", domain=shop.domain(enrich=RATE.replace("number", kind)))
    taken = take(of, Prices({"mug": Found({"euros": value})}))
    (found,) = euros(of)
    assert found == (expected, expected is not None or value is None)
    assert bool(taken.missing) == (not found[1])
