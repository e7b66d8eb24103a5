"""What a contract says of its enrichments, and what may become of that."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analytics_platform.contract.evolve import compare
from analytics_platform.contract.load import load_domain, load_event
from analytics_platform.contract.model import Enrichment, EventContract, LogicalType, Unknown
from analytics_platform.contract.schema import INSTANT, silver_columns, silver_schema
from analytics_platform.errors import ContractError
from analytics_platform_tests.contract.tree import CURRENCIES_FILE, ORDER_FILE, change, write_tree

RATING = "  - {property: rating, vendor: somebody, value: [1, 2]}\n"
MONEY = "{money: {reference: currencies, on: {code: currency}, take: {digits: places, code: iso}, asOf: placed_at}}"


def declared(tmp_path: Path, value: str = MONEY) -> Path:
    """The folder of a domain whose event is enriched."""
    folder = write_tree(tmp_path)
    change(tmp_path, ORDER_FILE, RATING, f"  - {{property: enrich, vendor: analytics_platform, value: {value}}}\n")
    return folder / "shop"


def test_columns_of_silver(tmp_path: Path) -> None:
    (event,) = load_domain(declared(tmp_path)).events
    (item,) = event.enrichments
    assert (item.name, item.reference, item.on, item.as_of) == (
        "money",
        "currencies",
        {"code": "currency"},
        "placed_at",
    )
    assert item.unknown is Unknown.NOTHING
    assert [(field.name, field.type, field.required) for field in item.columns] == [
        ("places", LogicalType.INTEGER, False),
        ("iso", LogicalType.STRING, False),
    ]
    schema = list(silver_schema([event]).items())
    place = next(at for at, (name, _) in enumerate(schema) if name == "places")
    assert schema[place - 1][0] == "lines"
    assert schema[place : place + 4] == [
        ("places", pl.Int64()),
        ("iso", pl.String()),
        ("money_enriched_at", INSTANT),
        ("_topic", pl.String()),
    ]
    assert not any(one.required for one in silver_columns([event])[place : place + 3])


def test_the_newest_version_decides(tmp_path: Path) -> None:
    folder = declared(tmp_path)
    older = (tmp_path / ORDER_FILE).read_text()
    newer = older.replace("version: 1.0.0", "version: 1.1.0").replace("digits: places, code: iso", "digits: places")
    (folder / "order_placed/1.1.0.odcs.yaml").write_text(newer)
    events = load_domain(folder).events
    assert "iso" not in silver_schema(events)
    assert "places" in silver_schema(events)


def test_read_without_its_domain(tmp_path: Path) -> None:
    declared(tmp_path)
    (item,) = load_event(tmp_path / ORDER_FILE).enrichments
    assert (item.take, item.columns) == ({"digits": "places", "code": "iso"}, ())


def test_of_a_reference_whose_own_contract_is_wrong_nothing_is_said(tmp_path: Path) -> None:
    folder = declared(tmp_path)
    change(tmp_path, CURRENCIES_FILE, "logicalType: integer", "logicalType: whole")
    with pytest.raises(ContractError) as caught:
        load_domain(folder)
    assert {complaint.file for complaint in caught.value.complaints} == {CURRENCIES_FILE}


def test_a_field_that_is_treated_cannot_be_looked_for(tmp_path: Path) -> None:
    folder = declared(tmp_path)
    treatment = "customProperties: [{property: treatment, vendor: analytics_platform, value: {op: hash, key: k}}]"
    old = "{name: currency, logicalType: string, enum: [{value: EUR}, {value: USD}]}"
    change(tmp_path, ORDER_FILE, old, f"{{name: currency, logicalType: string, {treatment}}}")
    with pytest.raises(ContractError, match=r"money\.on\.code: found 'currency', allowed are .*silver has as sent"):
        load_domain(folder)


# --- evolution ------------------------------------------------------------------------------------------------------------

MINE = Enrichment("money", "currencies", {"code": "currency"}, {"digits": "places"})
MINOR, MAJOR = "compatible", "needs a major"
SITUATIONS: dict[str, tuple[tuple[Enrichment, ...], tuple[Enrichment, ...], list[tuple[Any, ...]]]] = {
    "nothing": ((MINE,), (MINE,), []),
    "added": ((), (MINE,), [("enrich.money", "added", MINOR, True, True)]),
    "added, and its keys must be known": (
        (),
        (replace(MINE, unknown=Unknown.QUARANTINE),),
        [
            ("enrich.money", "added", MINOR, True, True),
            ("enrich.money.unknown", "nothing -> quarantine", MAJOR, False, True),
        ],
    ),
    "removed": (
        (MINE,),
        (),
        [
            ("enrich.money.places", "removed", MAJOR, True, False),
            ("enrich.money.money_enriched_at", "removed", MAJOR, True, False),
        ],
    ),
    "a column more": (
        (MINE,),
        (replace(MINE, take={"digits": "places", "code": "iso"}),),
        [("enrich.money.iso", "added", MINOR, True, True)],
    ),
    "a column less": (
        (replace(MINE, take={"digits": "places", "code": "iso"}),),
        (MINE,),
        [("enrich.money.iso", "removed", MAJOR, True, False)],
    ),
    "from another column": (
        (MINE,),
        (replace(MINE, take={"code": "places"}),),
        [("enrich.money.places", "digits -> code", MAJOR, True, True)],
    ),
    "from another table": (
        (MINE,),
        (replace(MINE, reference="coins"),),
        [("enrich.money.source", "reference.currencies -> reference.coins", MAJOR, True, True)],
    ),
    "by another field": (
        (MINE,),
        (replace(MINE, on={"code": "unit"}),),
        [("enrich.money.on", "code: currency -> code: unit", MAJOR, True, True)],
    ),
    "as of another time": (
        (MINE,),
        (replace(MINE, as_of="placed_at"),),
        [("enrich.money.asOf", "occurred_at -> placed_at", MAJOR, True, True)],
    ),
    "keys need not be known any more": (
        (replace(MINE, unknown=Unknown.QUARANTINE),),
        (MINE,),
        [("enrich.money.unknown", "quarantine -> nothing", MINOR, True, False)],
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_changed(situation: str, tmp_path: Path) -> None:
    old, new, expected = SITUATIONS[situation]
    write_tree(tmp_path)
    event: EventContract = load_event(tmp_path / ORDER_FILE)
    found = compare(replace(event, enrichments=old), replace(event, enrichments=new), date(2026, 11, 24))
    told = [(one.path, one.change, str(one.verdict), one.backward, one.forward) for one in found]
    assert told == expected
    assert all(one.advice for one in found if str(one.verdict) == MAJOR)
