import re
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path, PurePosixPath

import pytest

from analytics_platform.contract import model
from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Catalog, Deprecation, EventContract, Field, Upcast
from analytics_platform.contract.patch import Patch
from analytics_platform.contract.reason import Reason
from analytics_platform.errors import PagesNotWritten
from analytics_platform.pages.describe import SHOWN
from analytics_platform.pages.measure import Measured, TableMeasure
from analytics_platform.pages.site import site, write_site
from analytics_platform_tests.pages.tree import AT, EVIL, NOTHING, Html, hostile

ROOT = Path(__file__).parents[2]
EVENT = "events/order_placed.html"
MART = "marts/sales_daily.html"
REFERENCE = "reference/currencies.html"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return hostile(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def pages(catalog: Catalog) -> dict[str, str]:
    return dict(site(catalog, NOTHING))


@pytest.fixture(scope="module")
def shipped() -> dict[str, str]:
    return dict(site(load_catalog(ROOT / "contracts"), NOTHING))


def changed(catalog: Catalog, event: EventContract) -> Catalog:
    """The newest version of the event replaced."""
    shop = catalog.domains["shop"]
    return Catalog({"shop": replace(shop, events=(*shop.events[:-1], event))})


def test_a_page_for_every_table(pages: dict[str, str], shipped: dict[str, str]) -> None:
    assert sorted(pages) == [EVENT, "index.html", MART, REFERENCE, "style.css"]
    assert len(shipped) == 16


@pytest.mark.parametrize("which", ["pages", "shipped"])
def test_every_page_is_well_formed_and_every_link_leads_somewhere(which: str, request: pytest.FixtureRequest) -> None:
    found: dict[str, str] = request.getfixturevalue(which)
    read = {name: Html(text) for name, text in found.items() if name.endswith(".html")}
    for name, page in read.items():
        ids = page.all("id")
        assert len(ids) == len(set(ids)), name
        for address in page.all("href"):
            path, _, anchor = address.partition("#")
            target = name if not path else resolved(name, path)
            assert target in found, f"{name}: {address}"
            assert not anchor or anchor in read[target].all("id"), f"{name}: {address}"


def resolved(page: str, path: str) -> str:
    parts: list[str] = []
    for part in (PurePosixPath(page).parent / path).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def test_nothing_is_fetched_from_anywhere(pages: dict[str, str], shipped: dict[str, str]) -> None:
    for found in (pages, shipped):
        for name, text in found.items():
            if name == "style.css":
                assert not re.search(r"url\(|@import|@font-face", text)
                continue
            page = Html(text)
            assert {tag for tag, _ in page.tags} & {"img", "iframe", "object", "embed", "base", "form"} == set()
            assert page.all("src") == page.all("action") == page.all("style") == []
            assert not [address for address in page.all("href") if ":" in address or address.startswith("//")]
            links = [attributes for tag, attributes in page.tags if tag == "link"]
            assert [link["rel"] for link in links] == ["stylesheet"]


def test_what_contracts_say_is_text_and_never_markup(pages: dict[str, str]) -> None:
    scripts = {name: sum(tag == "script" for tag, _ in Html(text).tags) for name, text in pages.items() if "<" in text}
    assert scripts == {EVENT: 0, "index.html": 1, MART: 0, REFERENCE: 0}
    for name, text in pages.items():
        tags = {tag for tag, _ in Html(text).tags} if name.endswith(".html") else set()
        assert not tags & {"u", "i", "hr", "img"}, name
        assert not any(attribute.startswith("on") for _, found in Html(text).tags for attribute in found)
    for name in (EVENT, "index.html", MART):
        assert EVIL in Html(pages[name]).said
    event = Html(pages[EVENT]).said
    for text in ("<b>hi</b>", "matches O-[0-9]{3}|</td><u>", "in <i>cent</i>", "'</code><u>' = '&lt;' OR cents = 0 OR"):
        assert text in event
    assert "order_placed<hr>" in event
    assert "WHERE '</pre><u>' <> '' -- </pre><u> GROUP BY day" in Html(pages[MART]).said


def test_the_same_contracts_give_the_same_bytes(catalog: Catalog, pages: dict[str, str]) -> None:
    again = Catalog(dict(reversed(catalog.domains.items())))
    assert dict(site(again, NOTHING)) == pages
    assert str(ROOT) not in "".join(pages.values())


def test_an_event_says_everything_its_contract_does(pages: dict[str, str]) -> None:
    said = Html(pages[EVENT]).said
    for text in (
        "silver.order_placed",
        "active freshness not measured quality not measured",
        "Topic shop.orders-v1",
        "Owners ana@example.com, team:checkout",
        "Versions 1.1.0, 1.0.0",
        "topic bronze silver gold",
        "bronze.shop_orders_v1",
        "gold.sales_daily",
        "quarantine.shop",
        "Version 1.1.0 active Fields",
        "cents integer in <i>cent</i> required ≥ 0 < 1000000 a multiple of 5 Total.",
        "note new deprecated string optional",
        "Classified confidential. For example <b>hi</b>, 7.",
        "currency string optional one of EUR, USD",
        "lines array of object optional items ≥ 1",
        "lines[].sku string required",
        "lines[].weight_kg number optional > 0",
        "order_id identity string required",
        "schema_version the header ce_version",
        "occurred_at the field placed_at",
        "The platform derives the key: the sha256 of order_placed, order_id, placed_at, joined by U+001F, in hexadecimal.",
        "Copies are found over all history, by placed_at.",
        "currency_is_known",
        "Freshness the newest row is at most 2 h old Compatibility shape FULL_TRANSITIVE, rules BACKWARD_TRANSITIVE Quarantine at most 10 % of the records",
        "contracts/shop/order_placed/1.1.0.odcs.yaml",
        "contracts/shop/order_placed/1.0.0.odcs.yaml",
        "Tags sales",
        "Version 1.0.0 active Fields",
        "Measured 2026-11-24 12:00:00 UTC; there was no lake.",
    ):
        assert text in said, text
    assert said.count(" new ") == 1


def test_a_mart_and_a_reference_table_say_everything_their_contracts_do(pages: dict[str, str]) -> None:
    said = Html(pages[MART]).said
    for text in (
        "One row per day, currency",
        "Window 1 d by day, in Europe/Berlin",
        "Inputs silver.order_placed by placed_at, reference.currencies",
        "Freshness the newest row is at most 1 d old",
        "day key date required",
        "mean_cents number optional",
        "SELECT day, currency, count(*) AS orders, avg(cents) AS mean_cents",
    ):
        assert text in said, text
    assert '<a class="table" href="../events/order_placed.html">silver.order_placed</a>' in pages[MART]
    said = Html(pages[REFERENCE]).said
    for text in ("One row per code", "File currencies.parquet", "digits integer optional", "gold.sales_daily"):
        assert text in said, text


def test_a_mart_says_what_its_columns_are_made_of(pages: dict[str, str], shipped: dict[str, str]) -> None:
    assert "Made of silver.order_placed.cents." in Html(pages[MART]).said
    said = Html(shipped["marts/aircraft_rotations.html"]).said
    assert "Window sessions of tail_number by rotation_start, over when nothing comes for more than 8 h" in said
    said = Html(shipped["marts/airport_daily.html"]).said
    assert "Flights that left in the hour in which most did. Made of gold.departures_hourly.departed." in said


def test_a_mart_says_how_far_it_looks_back(shipped: dict[str, str]) -> None:
    said = Html(shipped["marts/delay_by_weather.html"]).said
    assert "silver.weather_observed by observed_at, back to 2 h before the window" in said


def test_what_was_measured(catalog: Catalog) -> None:
    hour = timedelta(hours=1)
    tables = {
        "silver.order_placed": TableMeasure(90, AT - 3 * hour),
        "gold.sales_daily": TableMeasure(4, AT - hour),
        "reference.currencies": TableMeasure(1, AT - 24 * hour),
    }
    waiting = {("shop", "order_placed"): 10, ("shop", None): 3}
    pages = site(
        catalog, Measured(AT, tables, waiting, {("shop", "order_placed"): {"malformed_json": 4, "wrong_type": 7}})
    )

    index, event = (Html(pages[name]).said for name in ("index.html", EVENT))
    assert (
        "active ana@example.com, team:checkout stale: newest event 3 h ago 10.00% of 100 in quarantine gold.sales_daily mart"
    ) in index
    assert "active team:analytics written 1 h ago" in index
    assert "3 records in quarantine are of no contracted type" in index
    assert "In quarantine Reason Records malformed_json 4 wrong_type 7" in event
    assert "Rows 90" in event
    assert "Measured 2026-11-24 12:00:00 UTC." in event


def test_every_table_can_be_found_by_the_filter(pages: dict[str, str]) -> None:
    texts = Html(pages["index.html"]).all("data-find")
    assert [text.split()[0] for text in texts] == ["silver.order_placed", "gold.sales_daily", "reference.currencies"]
    assert "team:checkout" in texts[0]
    assert all(text == text.lower() for text in texts)


@dataclass(frozen=True)
class Sunset:
    remove_after: date
    replaced_by: str | None = None


@dataclass(frozen=True)
class LaterField(Field):
    sunset: Sunset | None = None


@dataclass(frozen=True)
class LaterContract(EventContract):
    tier: str = "none"
    regions: tuple[str, ...] = ()


def test_what_contracts_come_to_declare_is_shown_under_its_own_name(catalog: Catalog) -> None:
    event = catalog.domains["shop"].events[-1]
    own = {item.name: getattr(event, item.name) for item in fields(event)}
    first = event.fields[0]
    field = LaterField(
        **{item.name: getattr(first, item.name) for item in fields(first)}, sunset=Sunset(date(2027, 1, 31), "<b>")
    )
    later = LaterContract(**own | {"fields": (field, *event.fields[1:])}, tier="gold", regions=("a", "b"))

    said = Html(site(changed(catalog, later), NOTHING)[EVENT]).said

    assert "Also declared tier gold regions a, b" in said
    assert "Sunset: remove after: 2027-01-31; replaced by: <b>." in said


def test_what_is_announced_to_end(catalog: Catalog) -> None:
    event = catalog.domains["shop"].events[-1]
    ends = Deprecation(date(2026, 7, 1), date(2026, 10, 1), "<u>")
    field = replace(event.fields[-1], deprecated=True, deprecation=ends)
    later = replace(event, fields=(*event.fields[:-1], field), deprecation=replace(ends, replaced_by=None))

    said = Html(site(changed(catalog, later), NOTHING)[EVENT]).said

    assert "lines deprecated array of object optional" in said
    assert "Announced on 2026-07-01, kept to the end of 2026-10-01; use <u> instead." in said
    assert "Version 1.1.0 active deprecated Announced on 2026-07-01, kept to the end of 2026-10-01. Fields" in said


def test_how_rows_of_an_older_major_come_into_shape(catalog: Catalog) -> None:
    event = catalog.domains["shop"].events[-1]
    later = replace(event, upcast=Upcast(1, {"cents": "CAST(euros * 100 AS bigint)", "note": "'<u>'"}))

    said = Html(site(changed(catalog, later), NOTHING)[EVENT]).said

    assert "Rows of major version 1" in said
    assert "Field SQL cents CAST(euros * 100 AS bigint) note '<u>' Service levels" in said


def test_patches_of_an_event(catalog: Catalog) -> None:
    event = catalog.domains["shop"].events[-1]
    patch = Patch(
        "till",
        "<i>Cents</i> as text.",
        "order_placed",
        1,
        codes=(Reason.WRONG_TYPE, Reason.RULE_VIOLATED),
        sources=("till-7",),
        start=None,
        end=datetime(2026, 11, 24, tzinfo=UTC),
        where="json_type(value, '$.cents') = 'VARCHAR'",
        fields={"cents": "CAST(value->>'cents' AS BIGINT)"},
        withdrawn=True,
        path=Path("x"),
        digest="",
    )

    said = Html(site(changed(catalog, replace(event, patches=(patch,))), NOTHING)[EVENT]).said

    assert (
        "Patches till withdrawn <i>Cents</i> as text. For records from till-7 taken in before 2026-11-24 00:00:00 UTC that are"
        " refused for wrong_type, rule_violated. json_type(value, '$.cents') = 'VARCHAR' Field SQL cents"
        " CAST(value->>'cents' AS BIGINT) Version 1.1.0"
    ) in said
    assert "Also declared patches" not in said


def test_names_that_are_shown_are_those_of_the_model() -> None:
    for name, shown in SHOWN.items():
        known = {item.name for item in fields(getattr(model, name))}
        assert set(shown.split()) <= known, name


def test_a_topic_without_marts_and_a_catalog_without_domains(catalog: Catalog) -> None:
    shop = catalog.domains["shop"]
    alone = site(Catalog({"shop": replace(shop, marts=(), references=(), description="")}), NOTHING)
    assert sorted(alone) == [EVENT, "index.html", "style.css"]
    Html(alone[EVENT])
    assert "There are no domains yet." in site(Catalog({}), NOTHING)["index.html"]


def test_written_over_what_was_there(tmp_path: Path, pages: dict[str, str], shipped: dict[str, str]) -> None:
    write_site(shipped, tmp_path)
    (tmp_path / "events/notes.html").write_text("<p>Mine.</p>")
    (tmp_path / "mine.txt").write_text("Mine.")
    write_site(pages, tmp_path)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {*pages, "events/notes.html", "mine.txt"}
    assert (tmp_path / EVENT).read_bytes() == pages[EVENT].encode()


def test_a_folder_that_cannot_be_written(tmp_path: Path, pages: dict[str, str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PagesNotWritten, match=r"file: the pages cannot be written there: .*--output"):
        write_site(pages, tmp_path / "file")


def test_sql_of_a_page_reads_as_it_was_written(catalog: Catalog, pages: dict[str, str]) -> None:
    (mart,) = catalog.domains["shop"].marts
    shown = pages[MART].split("<pre><code>", 1)[1].split("</code></pre>", 1)[0]
    assert unescape(re.sub(r"<[^>]*>", "", shown)) == mart.sql.strip()


def test_enrichments_of_an_event(shipped: dict[str, str]) -> None:
    said = Html(shipped["events/flight_departed.html"]).said
    for text in (
        "Enrichment plane Silver takes these columns from reference.planes, where tailnum is tail_number",
        "plane_seats integer optional",
        "plane_enriched_at says since when",
    ):
        assert text in said, text
