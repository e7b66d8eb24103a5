import re
import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform.contract.load import load_catalog, load_domain, load_sound
from analytics_platform.contract.model import (
    ENVELOPE,
    Field,
    Identity,
    KeyMode,
    LogicalType,
    RowRule,
    Rules,
    Window,
)
from analytics_platform.contract.panel import Aggregate, Panel, Place
from analytics_platform.contract.schema import reference_columns
from analytics_platform.errors import ContractError
from analytics_platform_tests.contract.tree import (
    CURRENCIES,
    CURRENCIES_FILE,
    DASHBOARD,
    DASHBOARD_FILE,
    ORDER,
    ORDER_FILE,
    SALES_FILE,
    SQL_FILE,
    change,
    write_tree,
)


def complaints_of(folder: Path) -> list[str]:
    with pytest.raises(ContractError) as caught:
        load_catalog(folder)
    return str(caught.value).splitlines()


def test_small_tree(tmp_path: Path) -> None:
    catalog = load_catalog(write_tree(tmp_path))

    assert list(catalog.domains) == ["shop"]
    domain = catalog.domains["shop"]
    assert domain.owners == ("ana@example.com", "team:analytics", "team:checkout", "team:finance")
    assert domain.topics == ("shop.orders-v1",)
    (event,) = domain.events
    assert event.header.description == "Orders.\n\nNone known."
    assert event.header.tags == ("sales",)
    assert event.header.owners == ("team:checkout", "ana@example.com")
    assert event.label == "order_placed@1.0.0"
    assert tuple(field.name for field in event.fields[:6]) == ENVELOPE
    assert event.fields[6:] == (
        Field("order_id", LogicalType.STRING, True, "", Rules(pattern="O-[0-9]{3}", max_length=5)),
        Field("placed_at", LogicalType.TIMESTAMP, True, ""),
        Field(
            "cents",
            LogicalType.INTEGER,
            True,
            "Total.",
            Rules(minimum=0, exclusive_maximum=1_000_000, multiple_of=5),
            unit="cent",
        ),
        Field("currency", LogicalType.STRING, False, "", Rules(enum=("EUR", "USD"))),
        Field(
            "lines",
            LogicalType.ARRAY,
            False,
            "",
            Rules(min_items=1),
            item=Field(
                "item",
                LogicalType.OBJECT,
                False,
                "",
                fields=(
                    Field("sku", LogicalType.STRING, True, ""),
                    Field("weight_kg", LogicalType.NUMBER, False, "", Rules(exclusive_minimum=0)),
                ),
            ),
        ),
    )
    assert event.envelope == {
        "idempotency_key": "id",
        "event_type": "type",
        "schema_version": "header:ce_version",
        "trace_id": "header:traceparent",
        "occurred_at": "placed_at",
        "source": "source",
    }
    assert event.identity == Identity(("order_id", "placed_at"), KeyMode.DERIVE, "placed_at", None)
    assert event.row_rules == (RowRule("currency_is_known", "cents = 0 OR currency IS NOT NULL", ""),)
    assert event.freshness == timedelta(hours=2)
    assert event.max_quarantined_share == 0.1

    (reference,) = domain.references
    assert reference.primary_key == ("code",)
    assert reference.file == tmp_path / "contracts/shop/reference/currencies.parquet"

    (mart,) = domain.marts
    assert mart.grain == ("day", "currency")
    assert mart.window == Window("day", timedelta(days=1), "Europe/Berlin", {"order_placed": "placed_at"})
    assert (mart.silver_inputs, mart.reference_inputs) == (("order_placed",), ("currencies",))
    assert mart.freshness == timedelta(days=1)


def test_panels_of_a_dashboard(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (tmp_path / DASHBOARD_FILE).write_text(DASHBOARD)

    assert load_catalog(folder).domains["shop"].panels == (
        Panel("Orders per day", "gold.sales_daily", "day", "orders", "currency", None, None, 31, None),
        Panel(
            "Digits, for want of a place",
            "silver.order_placed",
            "currency",
            "cents",
            None,
            Aggregate.MEAN,
            None,
            None,
            Place("currencies", "code", "digits", "digits"),
        ),
    )


def test_a_dashboard_of_classified_columns(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (tmp_path / DASHBOARD_FILE).write_text(DASHBOARD)
    change(tmp_path, SALES_FILE, "{name: currency, ", "{name: currency, classification: confidential, ")

    assert complaints_of(folder) == [
        (
            f"{DASHBOARD_FILE}:6: panels[0].by: found a classified column, allowed are columns of open values: a "
            "dashboard is a file that leaves the lake"
        )
    ]


def test_a_dashboard_is_looked_at_when_all_else_is_sound(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (tmp_path / DASHBOARD_FILE).write_text(DASHBOARD.replace("orders", "order"))
    change(tmp_path, ORDER_FILE, "status: active", "status: live")

    (complaint,) = complaints_of(folder)

    assert complaint.startswith(f"{ORDER_FILE}:6: status: found 'live'")


def situations() -> dict[str, tuple[str, str, str, list[str]]]:
    """From complaints.txt: file, what is replaced, by what, and what is complained of."""
    found = {}
    for section in (Path(__file__).parent / "complaints.txt").read_text().split("=== ")[1:]:
        parts = re.fullmatch(r"(.+?)\n--- (.+?)\n(.*?)\n\+\+\+\n(.*?)\n>>>\n(.*?)\n*", section, re.DOTALL)
        assert parts is not None, section
        title, file, old, new, complaints = parts.groups()
        assert title not in found
        found[title] = (file, old, new, complaints.splitlines())
    return found


SITUATIONS = situations()


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_complained_of(tmp_path: Path, situation: str) -> None:
    file, old, new, expected = SITUATIONS[situation]
    folder = write_tree(tmp_path)
    if file == DASHBOARD_FILE:
        (tmp_path / file).write_text(DASHBOARD)
    change(tmp_path, file, old, new)

    assert complaints_of(folder) == expected


def test_a_reference_table_with_history(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    kept = "\ncustomProperties: [{property: history, vendor: analytics_platform, value: true}]"
    change(tmp_path, CURRENCIES_FILE, "team: {name: finance}", "team: {name: finance}" + kept)
    (reference,) = load_catalog(folder).domains["shop"].references
    assert (reference.history, reference.grain) == (True, ("code", "_valid_from"))
    assert [column.name for column in reference_columns(reference)][2:] == ["_valid_from", "_valid_to", "_commit"]


TOPIC = CURRENCIES.replace("physicalName: currencies.parquet", "physicalName: shop.currencies").replace(
    "physicalType: parquet", "physicalType: topic"
)


def with_topic(tmp_path: Path, text: str) -> Path:
    folder = write_tree(tmp_path)
    (folder / "shop/reference/currencies.parquet").unlink()
    (tmp_path / CURRENCIES_FILE).write_text(text)
    return folder


def test_a_reference_table_that_follows_a_topic(tmp_path: Path) -> None:
    domain = load_catalog(with_topic(tmp_path, TOPIC)).domains["shop"]
    (reference,) = domain.references
    assert (reference.history, reference.file) == (True, None)
    assert (domain.files, domain.followed) == ((), (reference,))
    assert domain.topics == ("shop.currencies", "shop.orders-v1")
    assert [event.name for event in domain.events] == ["currencies", "order_placed"]
    assert [event.name for event in domain.produced] == ["order_placed"]


def own(name: str, value: object) -> str:
    return f"\ncustomProperties: [{{property: {name}, vendor: analytics_platform, value: {value}}}]"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "team: {name: finance}",
            "team: {name: finance}" + own("validFrom", "digits"),
            ":10: customProperties[0].value: found 'digits', allowed is a required timestamp",
        ),
        (
            "team: {name: finance}",
            "team: {name: finance}" + own("history", "false"),
            ":10: customProperties[0].value: found false, allowed is true, or left out, where rows come by a topic",
        ),
        (
            "name: digits",
            "name: source",
            (
                ":16: schema[0].properties[1].name: found 'source', allowed is no name of the envelope, "
                "which stands beside the fields in silver"
            ),
        ),
        (
            "shop.currencies",
            "shop.orders-v1",
            (
                ":12: schema[0].physicalName: found 'shop.orders-v1', allowed is a name of its own: "
                "bronze.shop_orders_v1 belongs to the topic shop.orders-v1 of the domain shop"
            ),
        ),
        (
            "shop.currencies",
            "the topic",
            ":12: schema[0].physicalName: found 'the topic', allowed is the name of a Kafka topic",
        ),
    ],
    ids=["no timestamp", "no history", "the envelope's name", "a topic of events", "no topic"],
)
def test_a_topic_that_cannot_be_followed(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert TOPIC.count(old) == 1
    assert CURRENCIES_FILE + complaint in complaints_of(with_topic(tmp_path, TOPIC.replace(old, new)))


def test_a_topic_that_is_followed_by_a_table_of_an_event_s_name(tmp_path: Path) -> None:
    folder = with_topic(tmp_path, TOPIC.replace("urn:contract:shop:currencies", "urn:x"))
    text = TOPIC.replace("name: currencies", "name: order_placed")
    (folder / "shop/reference/order_placed.odcs.yaml").write_text(text.replace("shop.currencies", "shop.more"))
    assert complaints_of(folder) == [
        (
            "contracts/shop/reference/order_placed.odcs.yaml:4: name: found 'order_placed', allowed is a name of its own: "
            "silver.order_placed belongs to the event order_placed of the domain shop"
        )
    ]


def test_reference_file_that_is_none(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (folder / "shop/reference/currencies.parquet").write_bytes(b"code,digits\nEUR,2\n")

    (complaint,) = complaints_of(folder)

    assert complaint.startswith(
        f"{CURRENCIES_FILE}:12: schema[0].physicalName: found 'currencies.parquet', allowed is a parquet file that can be read"
    )
    assert str(tmp_path) not in complaint


def test_files_that_are_not_read(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    for name in (
        "notes.txt",
        "shop/1.0.0.odcs.yaml",
        "shop/order_placed/v2.odcs.yaml",
        "shop/order_placed/2.0.0.yaml",
        "shop/reference/old.parquet",
        "shop/marts/old.sql",
        "shop/Order/1.0.0.odcs.yaml",
        "empty/README.md",
        "shop/.hidden",
        "shop/marts/README.md",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")

    assert complaints_of(folder) == [
        "contracts/empty: found no contract, allowed is at least one file *.odcs.yaml",
        "contracts/notes.txt: found a file that is not read, allowed are folders of domains",
        (
            "contracts/shop/1.0.0.odcs.yaml: found a file or folder that is not read, allowed are folders of events, "
            "reference and marts, and dashboard.yaml"
        ),
        (
            "contracts/shop/Order: found a file or folder that is not read, allowed are names of a-z, 0-9 and _ that begin "
            "with a letter, of at most 63 characters"
        ),
        (
            "contracts/shop/marts/old.sql: found a file or folder that is not read, allowed are files *.odcs.yaml and the "
            "files they belong to"
        ),
        (
            "contracts/shop/order_placed/2.0.0.yaml: found a file or folder that is not read, allowed are files named "
            "<version>.odcs.yaml, as in 1.0.0.odcs.yaml, and <name>.patch.yaml"
        ),
        (
            "contracts/shop/order_placed/v2.odcs.yaml: found a file or folder that is not read, allowed are files named "
            "<version>.odcs.yaml, as in 1.0.0.odcs.yaml, and <name>.patch.yaml"
        ),
        (
            "contracts/shop/reference/old.parquet: found a file or folder that is not read, allowed are files that a "
            "contract beside them names"
        ),
    ]


def test_mart_without_sql(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (tmp_path / SQL_FILE).unlink()

    assert complaints_of(folder) == [f"{SQL_FILE}: found no such file, allowed is the mart's SQL beside its contract"]


def test_mart_of_a_broken_event_is_not_blamed(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    change(tmp_path, ORDER_FILE, "name: placed_at, logicalType: timestamp, required: true", "name: placd_at")

    assert {complaint.split(":")[0] for complaint in complaints_of(folder)} == {ORDER_FILE}


def test_no_folder(tmp_path: Path) -> None:
    assert complaints_of(tmp_path / "contracts") == [
        "contracts: found no such folder, allowed is a folder of contracts"
    ]
    (tmp_path / "contracts").mkdir()
    assert complaints_of(tmp_path / "contracts") == [
        "contracts: found no domain, allowed is at least one folder of contracts"
    ]
    with pytest.raises(ContractError, match="shop: found no such folder"):
        load_domain(tmp_path / "contracts" / "shop")


def test_two_versions_of_one_event(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    newer = ORDER.replace("version: 1.0.0", "version: 1.10.0").replace(
        "    quality:", "      - {name: coupon, logicalType: string}\n    quality:"
    )
    (folder / "shop/order_placed/1.10.0.odcs.yaml").write_text(newer)
    (folder / "shop/order_placed/1.9.0.odcs.yaml").write_text(ORDER.replace("version: 1.0.0", "version: 1.9.0"))

    domain = load_domain(folder / "shop")

    assert [event.header.version for event in domain.versions_of("order_placed")] == ["1.0.0", "1.9.0", "1.10.0"]
    assert domain.event_types_of("shop.orders-v1") == ("order_placed",)


def test_versions_that_contradict_each_other(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    other = (
        ORDER.replace("version: 1.0.0", "version: 2.0.0")
        .replace("shop.orders-v1", "shop.orders-v2")
        .replace("by: [order_id, placed_at]", "by: [placed_at]")
        .replace("name: weight_kg, logicalType: number", "name: weight_kg, logicalType: integer")
    )
    (folder / "shop/order_placed/2.0.0.odcs.yaml").write_text(other)

    file = "contracts/shop/order_placed/2.0.0.odcs.yaml"
    assert complaints_of(folder) == [
        (
            f"{file}:15: schema[0].physicalName: found 'shop.orders-v2', allowed is shop.orders-v1, as in "
            "order_placed@1.0.0"
        ),
        (
            f"{file}:38: schema[0].properties[10].logicalType: found 'array', allowed is the type it has in "
            "order_placed@1.0.0: the versions share a table"
        ),
        (
            f"{file}:63: customProperties[1].value: found another identity, allowed is the identity of order_placed@1.0.0: "
            "the versions share a table"
        ),
    ]


def test_events_of_one_topic_that_say_their_type_in_different_places(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    paid = ORDER.replace("order_placed", "order_paid").replace("event_type: type", "event_type: header:ce_type")
    (folder / "shop/order_paid").mkdir()
    (folder / "shop/order_paid/1.0.0.odcs.yaml").write_text(paid)

    assert complaints_of(folder) == [
        (
            "contracts/shop/order_placed/1.0.0.odcs.yaml:58: customProperties[0].value.event_type: found 'type', allowed is "
            "header:ce_type, as in order_paid@1.0.0 of the same topic"
        )
    ]


def test_domains_that_want_the_same_tables(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    shutil.copytree(folder / "shop", folder / "store")
    for path in (folder / "store").rglob("*.yaml"):
        path.write_text(path.read_text().replace("domain: shop", "domain: store"))
    change(tmp_path, "contracts/store/order_placed/1.0.0.odcs.yaml", "shop.orders-v1", "shop.orders.v1")

    catalog, complaints = load_sound(folder)

    assert list(catalog.domains) == ["shop"]
    assert [str(complaint) for complaint in complaints] == [
        (
            "contracts/store/marts/sales_daily.odcs.yaml:4: name: found 'sales_daily', allowed is a name of its own: "
            "gold.sales_daily belongs to the mart sales_daily of the domain shop"
        ),
        (
            "contracts/store/order_placed/1.0.0.odcs.yaml:4: name: found 'order_placed', allowed is a name of its own: "
            "silver.order_placed belongs to the event order_placed of the domain shop"
        ),
        (
            "contracts/store/order_placed/1.0.0.odcs.yaml:15: schema[0].physicalName: found 'shop.orders.v1', allowed is a "
            "name of its own: bronze.shop_orders_v1 belongs to the topic shop.orders-v1 of the domain shop"
        ),
        (
            "contracts/store/reference/currencies.odcs.yaml:4: name: found 'currencies', allowed is a name of its own: "
            "reference.currencies belongs to the table currencies of the domain shop"
        ),
    ]


def test_a_broken_domain_does_not_take_others_along(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (folder / "other" / "thing").mkdir(parents=True)
    (folder / "other" / "thing" / "1.0.0.odcs.yaml").write_text("[")

    catalog, complaints = load_sound(folder)

    assert list(catalog.domains) == ["shop"]
    assert {complaint.file for complaint in complaints} == {"contracts/other/thing/1.0.0.odcs.yaml"}


def test_digest_follows_the_files(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    before = load_domain(folder / "shop")
    same = load_domain(folder / "shop")
    change(tmp_path, SQL_FILE, "WITH placed", "-- A comment.\nWITH placed")
    change(tmp_path, ORDER_FILE, "Orders.", "All orders.")
    after = load_domain(folder / "shop")

    assert before == same
    assert before.marts[0].header.digest != after.marts[0].header.digest
    assert before.events[0].header.digest != after.events[0].header.digest
    assert before.references[0].header.digest == after.references[0].header.digest


def test_csv_reference(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    data = folder / "shop/reference/currencies.parquet"
    pl.read_parquet(data).write_csv(data.with_suffix(".csv"))
    data.unlink()
    change(
        tmp_path,
        CURRENCIES_FILE,
        "physicalName: currencies.parquet\n    physicalType: parquet",
        "physicalName: currencies.csv\n    physicalType: csv",
    )

    assert load_domain(folder / "shop").references[0].file == data.with_suffix(".csv")


def test_names_that_are_words_of_sql(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    (folder / "shop/order_placed").rename(folder / "shop/order")
    for file in ("order/1.0.0.odcs.yaml", "marts/sales_daily.odcs.yaml", "marts/sales_daily.sql"):
        path = folder / "shop" / file
        path.write_text(
            path.read_text().replace("silver.order_placed", 'silver."order"').replace("order_placed", "order")
        )

    assert load_domain(folder / "shop").marts[0].silver_inputs == ("order",)


def write_mart(root: Path, name: str, sql: str, window: str) -> None:
    text = (root / SALES_FILE).read_text().replace("sales_daily", name)
    value = "{column: day, size: 1d, timezone: Europe/Berlin, timeFields: {order_placed: placed_at}}"
    (root / SALES_FILE).with_name(f"{name}.odcs.yaml").write_text(text.replace(value, window))
    (root / SQL_FILE).with_name(f"{name}.sql").write_text(sql)


BERLIN = "{column: day, size: 1d, timezone: Europe/Berlin}"


def test_marts_over_marts_each_after_those_it_reads(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    write_mart(tmp_path, "a_top", "FROM gold.b_middle", BERLIN)
    write_mart(
        tmp_path, "b_middle", "FROM gold.sales_daily", "{column: day, size: 14d, hop: 1d, timezone: Europe/Berlin}"
    )
    marts = load_catalog(folder).domains["shop"].marts
    assert [(mart.name, mart.gold_inputs) for mart in marts] == [
        ("sales_daily", ()),
        ("b_middle", ("sales_daily",)),
        ("a_top", ("b_middle",)),
    ]
    assert marts[1].window == Window("day", timedelta(days=14), "Europe/Berlin", {}, timedelta(days=1))


def test_marts_that_read_each_other(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        write_mart(tmp_path, name, f"FROM gold.{other}", BERLIN)
    assert complaints_of(folder) == [
        f"contracts/shop/marts/{name}.sql: found a circle: {circle}, allowed are marts below it"
        for name, circle in (
            ("a", "a reads b reads c reads a"),
            ("b", "b reads c reads a reads b"),
            ("c", "c reads a reads b reads c"),
        )
    ]


def test_a_mart_over_days_of_another_zone(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    write_mart(tmp_path, "utc_days", "FROM gold.sales_daily", BERLIN.replace("Europe/Berlin", "UTC"))
    assert complaints_of(folder) == [
        (
            "contracts/shop/marts/utc_days.odcs.yaml:21: customProperties[0].value.timezone: found windows in UTC,"
            " allowed are days in Europe/Berlin, as those of gold.sales_daily, which it reads"
        )
    ]


def test_what_is_wrong_with_a_mart_is_said_once(tmp_path: Path) -> None:
    """Not again of the marts above it."""
    folder = write_tree(tmp_path)
    write_mart(tmp_path, "above", "SELECT day, currency, orders, mean_cents FROM gold.sales_daily", BERLIN)
    change(tmp_path, SQL_FILE, "avg(cents) AS mean_cents", "avg(cents) AS mean")
    assert {line.split(":")[0] for line in complaints_of(folder)} == {"contracts/shop/marts/sales_daily.odcs.yaml"}
