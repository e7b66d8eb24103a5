from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from analytics_platform.contract.load import load_catalog, load_event
from analytics_platform.contract.locate import line_of
from analytics_platform.contract.model import Catalog
from analytics_platform.contract.release import release
from analytics_platform.errors import ContractError
from analytics_platform_tests.contract.tree import ORDER, ORDER_FILE, SALES_FILE, SQL_FILE, change, write_tree

TODAY = date(2026, 11, 24)
Trees = Callable[[], Catalog]


@pytest.fixture
def old(tmp_path: Path) -> Catalog:
    return load_catalog(write_tree(tmp_path / "old"))


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "new").parent


def write_version(root: Path, version: str, *edits: tuple[str, str]) -> Path:
    """Another version of the order's contract."""
    text = ORDER.replace("version: 1.0.0", f"version: {version}")
    for before, after in edits:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    path = root / f"contracts/shop/order_placed/{version}.odcs.yaml"
    path.write_text(text)
    return path


def found(old: Catalog, new: Path, today: date = TODAY) -> list[tuple[str, str, str, str, str, bool]]:
    return [
        (item.table, item.old, item.new, item.difference.path, str(item.difference.verdict), item.allowed)
        for item in release(old, load_catalog(new / "contracts"), today)
    ]


LATER = ("{name: weight_kg,", "{name: colour, logicalType: string}\n            - {name: weight_kg,")
TIGHTER = ("minimum: 0,", "minimum: 5,")
ENDED = (
    "  - {property: rating, vendor: somebody, value: [1, 2]}",
    "  - {property: deprecation, vendor: analytics_platform, value: {announcedOn: 2026-07-01, removeAfter: 2026-11-23}}",
)
DEPRECATED = ("status: active", "status: deprecated")


def test_nothing_new(old: Catalog, new: Path) -> None:
    assert found(old, new) == []


def test_minor_version_with_an_optional_field(old: Catalog, new: Path) -> None:
    write_version(new, "1.1.0", LATER)
    assert found(old, new) == [("silver.order_placed", "1.0.0", "1.1.0", "lines[].colour", "compatible", True)]


def test_minor_version_that_is_stricter(old: Catalog, new: Path) -> None:
    write_version(new, "1.1.0", TIGHTER)
    assert found(old, new) == [("silver.order_placed", "1.0.0", "1.1.0", "cents", "needs a major", False)]


def test_the_same_as_a_major_version(old: Catalog, new: Path) -> None:
    write_version(new, "2.0.0", TIGHTER)
    assert found(old, new) == [("silver.order_placed", "1.0.0", "2.0.0", "cents", "needs a major", True)]


def test_a_released_version_never_changes(old: Catalog, new: Path) -> None:
    change(new, ORDER_FILE, *LATER)
    (finding,) = release(old, load_catalog(new / "contracts"), TODAY)
    assert (finding.difference.path, finding.allowed) == ("lines[].colour", False)
    assert finding.difference.reason.startswith("1.0.0 is released, and a released version never changes.")


def test_words_and_an_announced_end_may_change(old: Catalog, new: Path) -> None:
    for edit in (
        DEPRECATED,
        (ENDED[0], ENDED[1].replace("2026-11-23", "2027-01-31")),
        ("description: Total.", "description: Sum."),
    ):
        change(new, ORDER_FILE, *edit)
    assert found(old, new) == [
        ("silver.order_placed", "1.0.0", "1.0.0", "cents", "cosmetic", True),
        ("silver.order_placed", "1.0.0", "1.0.0", "version", "cosmetic", True),
        ("silver.order_placed", "1.0.0", "1.0.0", "status", "cosmetic", True),
    ]


def test_a_draft_may_become_anything(tmp_path: Path, new: Path) -> None:
    folder = write_tree(tmp_path / "draft")
    change(tmp_path / "draft", ORDER_FILE, "status: active", "status: draft")
    change(new, ORDER_FILE, *TIGHTER)
    assert all(item[-1] for item in found(load_catalog(folder), new))


def test_transitive_means_all_of_the_major(new: Path) -> None:
    """1.1.0 drops a value that 1.2.0 takes in again as something else than 1.0.0 knew: the neighbour does not mind."""
    enum = "enum: [{value: EUR}, {value: USD}]"
    write_version(new, "1.1.0", (enum, "enum: [{value: EUR}]"))
    write_version(new, "1.2.0", (enum, "enum: [{value: EUR}, {value: GBP}]"))
    catalog = load_catalog(new / "contracts")
    refused = [(item.old, item.new) for item in release(Catalog({}), catalog, TODAY) if not item.allowed]
    assert refused == [("1.0.0", "1.1.0"), ("1.0.0", "1.2.0")]


def test_version_removed(old: Catalog, new: Path, tmp_path: Path) -> None:
    write_version(new, "1.1.0")
    (new / ORDER_FILE).unlink()
    assert found(old, new)[0] == ("silver.order_placed", "1.0.0", "none", "version", "breaking", False)
    for edit in (DEPRECATED, ENDED):
        change(tmp_path / "old", ORDER_FILE, *edit)
    announced = load_catalog(tmp_path / "old/contracts")
    assert found(announced, new, date(2026, 11, 23))[0][-2:] == ("breaking", False)
    assert found(announced, new, date(2026, 11, 24))[0][-2:] == ("compatible", True)


def test_mart_loses_a_column(old: Catalog, new: Path) -> None:
    change(new, SALES_FILE, "      - {name: mean_cents, logicalType: number}\n", "")
    change(new, SQL_FILE, ", avg(cents) AS mean_cents", "")
    expected = [("gold.sales_daily", "mean_cents", "breaking", False), ("gold.sales_daily", "sql", "breaking", False)]
    assert [(item[0], *item[3:]) for item in found(old, new)] == expected
    change(new, SALES_FILE, "version: 1.0.0", "version: 2.0.0")
    assert [item[-2:] for item in found(old, new)] == [("needs a major", True), ("compatible", True)]


def test_mart_gets_a_column(old: Catalog, new: Path) -> None:
    change(
        new,
        SALES_FILE,
        "      - {name: mean_cents,",
        "      - {name: sum_cents, logicalType: number}\n      - {name: mean_cents,",
    )
    change(new, SQL_FILE, "avg(cents) AS mean_cents", "avg(cents) AS mean_cents, sum(cents)::double AS sum_cents")
    change(new, SALES_FILE, "version: 1.0.0", "version: 1.1.0")
    assert [item[3:] for item in found(old, new)] == [("sum_cents", "compatible", True), ("sql", "compatible", True)]


def test_mart_removed(old: Catalog, new: Path) -> None:
    (new / SALES_FILE).unlink()
    (new / SQL_FILE).unlink()
    assert found(old, new) == [("gold.sales_daily", "1.0.0", "none", "contract", "breaking", False)]


def test_a_successor_has_to_be_there(new: Path) -> None:
    change(new, ORDER_FILE, *DEPRECATED)
    change(new, ORDER_FILE, ENDED[0], ENDED[1].replace("2026-11-23}", "2026-11-23, replacedBy: 2.0.0}"))
    with pytest.raises(
        ContractError, match=r"replacedBy: found '2\.0\.0', allowed is 1\.0\.0: the versions of this event"
    ):
        load_catalog(new / "contracts")
    write_version(new, "2.0.0")
    load_catalog(new / "contracts")


def test_one_file_anywhere(tmp_path: Path, new: Path) -> None:
    elsewhere = tmp_path / "proposal.yaml"
    elsewhere.write_text((new / ORDER_FILE).read_text())
    assert load_event(elsewhere).label == "order_placed@1.0.0"
    elsewhere.write_text(ORDER.replace("kind: DataContract", "kind: Contract"))
    with pytest.raises(ContractError, match=r"^proposal.yaml:2: kind"):
        load_event(elsewhere)


def test_lines(new: Path) -> None:
    path = new / ORDER_FILE
    lines = path.read_text().splitlines()

    def at(part: str) -> str:
        line = line_of(path, part)
        assert line is not None
        return lines[line - 1].strip()

    assert at("cents") == "- name: cents"
    assert at("lines[].sku") == "- {name: sku, logicalType: string, required: true}"
    assert at("lines[].gone") == "properties:"
    assert at("envelope.source") == "source: source"
    assert at("identity").startswith("- {property: identity")
    assert at("quality.currency_is_known") == "- type: custom"
    assert at("topic") == "physicalName: shop.orders-v1"
    assert at("status") == "status: active"
    assert at("version") == "version: 1.0.0"
    assert line_of(new / "nowhere", "cents") is None


def test_an_end_announced_in_the_past(old: Catalog, new: Path) -> None:
    """Rows that were valid would turn bad at once."""
    for edit in (DEPRECATED, ENDED):
        change(new, ORDER_FILE, *edit)
    (finding,) = [item for item in release(old, load_catalog(new / "contracts"), TODAY) if not item.allowed]
    assert (finding.difference.path, str(finding.difference.verdict)) == ("version", "breaking")
    assert not finding.difference.backward


def test_a_field_announced_and_removed_in_one_change(old: Catalog, new: Path) -> None:
    """What was released counts: nobody has been told yet."""
    currency = "      - {name: currency, logicalType: string, enum: [{value: EUR}, {value: USD}]}\n"
    end = "customProperties: [{property: deprecation, vendor: analytics_platform, value: {announcedOn: 2026-01-01, removeAfter: 2026-11-24}}]"
    rules = (
        "        implementation: {scope: row, sql: cents = 0 OR currency IS NOT NULL}",
        "        implementation: {scope: row, sql: cents >= 0}",
    )
    write_version(new, "1.1.0", (currency, ""), rules)
    change(new, ORDER_FILE, currency, currency.replace("enum:", f"deprecated: true, {end}, enum:"))
    for file in (SALES_FILE, SQL_FILE):
        (new / file).unlink()
    later = date(2026, 11, 25)
    refused = [item.difference for item in release(old, load_catalog(new / "contracts"), later) if not item.allowed]
    assert ("currency", "removed, was optional", "needs a major") in [
        (item.path, item.change, str(item.verdict)) for item in refused
    ]


def test_another_up_cast_in_a_minor_version(old: Catalog, new: Path) -> None:
    other = "  - {property: rating, vendor: somebody, value: [1, 2]}"
    euros = ("      - name: cents\n", "      - {name: euros, logicalType: number}\n      - name: cents\n")
    for version, expression in (("2.0.0", "cents / 100"), ("2.1.0", "cents / 100 - 5")):
        cast = (
            f"  - {{property: upcast, vendor: analytics_platform, value: {{from: 1, fields: {{euros: {expression}}}}}}}"
        )
        write_version(new, version, euros, (other, cast))
    assert ("silver.order_placed", "2.0.0", "2.1.0", "upcast", "needs a major", False) in found(old, new)
