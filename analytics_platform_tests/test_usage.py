"""The life of a version while events flow: fields that are added, ends that come, and who still uses what ends."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from analytics_platform.cli import run
from analytics_platform.contract.model import Deprecation, Domain, EventContract, Field, LogicalType
from analytics_platform.contract.reject import CLAIM_LENGTH
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.table import Lake
from analytics_platform.rebuild import LAYERS, rebuild
from analytics_platform.usage import SCHEMA, uses
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, START, VISITS, Shop, order

HOUR = timedelta(hours=1)
BELOW = LAYERS - {"bronze"}
LAST_DAY = START.date()
MIDNIGHT = datetime.combine(LAST_DAY + timedelta(days=1), datetime.min.time(), UTC)
END = Deprecation(date(2026, 9, 1), LAST_DAY, "1.1.0")
NOTE = Field(
    "note",
    LogicalType.OBJECT,
    required=False,
    description="",
    fields=(
        Field("text", LogicalType.STRING, False, "", deprecated=True, deprecation=replace(END, replaced_by="words")),
        Field("words", LogicalType.ARRAY, False, "", item=Field("item", LogicalType.STRING, True, "")),
    ),
)


def with_orders(*versions: EventContract) -> Domain:
    """The shop with these versions of `order_placed`."""
    of = shop.domain()
    return replace(of, events=(*(item for item in of.events if item.name != "order_placed"), *versions))


FIRST = shop.contract(shop.domain(), "order_placed")
SECOND = replace(FIRST, header=replace(FIRST.header, version="1.1.0", digest="second"), fields=(*FIRST.fields, NOTE))
ENDING = replace(FIRST, header=replace(FIRST.header, digest="ending"), deprecation=END)


def placed(number: int, version: str = "1.0.0", source: str = "web", **changes: object) -> bytes:
    return order(order_id=f"o-{number}", schema_version=version, source=source, **changes)


def shop_of(root: Path, *values: bytes, domain: Domain) -> Shop:
    return Shop(root / "lake", {ORDERS: {0: values}, VISITS: {0: ()}}, domain)


def found(used: pl.DataFrame) -> list[tuple[object, ...]]:
    return used.select("what", "source", "rows", "refused", "first_seen", "last_seen").rows()


def test_a_field_is_added_while_events_flow(tmp_path: Path) -> None:
    old = shop_of(tmp_path, placed(1), placed(2, "1.1.0", note={"words": ["a"]}), domain=with_orders(FIRST))
    old.take(ORDERS, [OffsetRange(0, 0, 2)])  # the producer is ahead of the contracts: its field waits in bronze
    assert "note" not in old.silver("order_placed").columns
    new = old.under(with_orders(FIRST, SECOND))
    new.values[ORDERS][0] = (*old.values[ORDERS][0], placed(3, "1.1.0", note={"words": ["b"]}), placed(4))  # type: ignore[index]
    new.take(ORDERS, [OffsetRange(0, 2, 4)])
    assert new.quarantine().is_empty()
    rows = new.silver("order_placed").sort("_offset").select("order_id", "note", "_contract").rows()
    b = {"text": None, "words": ["b"]}
    assert rows == [
        ("o-1", None, "order_placed@1.0.0"),
        ("o-2", None, "order_placed@1.0.0"),
        ("o-3", b, "order_placed@1.1.0"),
        ("o-4", None, "order_placed@1.0.0"),
    ]
    rebuild(new.domain, new.settings, START, START + HOUR, layers=BELOW, clock=new.clock)
    assert new.silver("order_placed").sort("_offset")["note"].to_list() == [
        None,
        {"text": None, "words": ["a"]},
        b,
        None,
    ]


def test_a_version_ends_with_its_last_day(tmp_path: Path) -> None:
    of = shop_of(
        tmp_path,
        placed(1),
        placed(2, source="shop"),
        placed(3),
        placed(4, "1.1.0"),
        domain=with_orders(ENDING, SECOND),
    )
    of.now = MIDNIGHT - timedelta(seconds=2)
    of.take(ORDERS, [OffsetRange(0, 0, 2)])
    assert of.now == MIDNIGHT - timedelta(seconds=1)
    of.take(ORDERS, [OffsetRange(0, 2, 4)])
    assert of.now == MIDNIGHT
    assert sorted(of.silver("order_placed")["order_id"]) == ["o-1", "o-2", "o-4"]
    refused = of.quarantine().select("offset", "codes", "reasons", "schema_version", "source", "contract").rows()
    reason = f"order_placed@1.0.0 was taken until the end of {LAST_DAY}"
    assert refused == [(2, ["version_sunset"], [reason], "1.0.0", "web", "order_placed@1.0.0")]
    before = {spec.title: of.rows(spec).sort(pl.all()) for spec in of.specs()[:3] if spec.layer != "bronze"}
    of.now += timedelta(days=30)
    rebuild(of.domain, of.settings, MIDNIGHT - HOUR, MIDNIGHT + HOUR, layers=BELOW, clock=of.clock)
    for spec in of.specs()[:3]:
        if spec.layer != "bronze":
            assert of.rows(spec).sort(pl.all()).equals(before[spec.title])


def test_a_version_nobody_knows_is_read_by_one_that_has_not_ended(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1, "1.0.7"), domain=with_orders(ENDING, SECOND))
    of.now = MIDNIGHT + timedelta(days=1)
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    assert of.silver("order_placed")["_contract"].to_list() == ["order_placed@1.1.0"]


def test_who_still_uses_what_ends(tmp_path: Path) -> None:
    of = shop_of(
        tmp_path,
        placed(1),
        placed(2),
        placed(3, source=...),
        placed(4, "1.1.0", note={"text": "x", "words": None}),
        placed(5, "1.1.0", note={"words": []}),
        placed(6),
        placed(7, source="shop"),
        domain=with_orders(ENDING, SECOND),
    )
    of.now = MIDNIGHT - timedelta(seconds=20)
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    earlier = of.now
    of.now = MIDNIGHT - timedelta(seconds=10)
    of.take(ORDERS, [OffsetRange(0, 1, 6)])
    seen = of.now
    of.now = MIDNIGHT - timedelta(seconds=1)
    of.take(ORDERS, [OffsetRange(0, 6, 7)])
    assert of.now == MIDNIGHT
    lake = Lake(of.root)

    assert found(uses(lake, of.domain)) == [
        ("version 1.0.0", "shop", 0, 1, MIDNIGHT, MIDNIGHT),
        ("version 1.0.0", "web", 3, 0, earlier, seen),
        ("version 1.0.0", None, 1, 0, seen, seen),
        ("field note.text", "web", 1, 0, seen, seen),
    ]
    assert set(uses(lake, of.domain).select("event", "what", "last_day", "replaced_by").rows()) == {
        ("order_placed", "version 1.0.0", LAST_DAY, "1.1.0"),
        ("order_placed", "field note.text", LAST_DAY, "words"),
    }
    assert found(uses(lake, of.domain, since=MIDNIGHT)) == [("version 1.0.0", "shop", 0, 1, MIDNIGHT, MIDNIGHT)]


def test_a_source_that_sends_before_and_after_the_end(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2), domain=with_orders(ENDING, SECOND))
    of.now = MIDNIGHT - HOUR
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    first = of.now
    of.now = MIDNIGHT + HOUR
    of.take(ORDERS, [OffsetRange(0, 1, 2)])
    assert found(uses(Lake(of.root), of.domain)) == [("version 1.0.0", "web", 1, 1, first, of.now)]


def test_a_source_as_long_as_its_producer_likes(tmp_path: Path) -> None:
    ending_since = replace(ENDING, deprecation=replace(END, remove_after=LAST_DAY + timedelta(days=30)))
    of = shop_of(
        tmp_path, placed(1, source="s" * 5_000), placed(2, source="s" * 5_001), domain=with_orders(ending_since)
    )
    of.take(ORDERS, [OffsetRange(0, 0, 2)])
    assert uses(Lake(of.root), of.domain).select("source", "rows").rows() == [("s" * CLAIM_LENGTH, 2)]


def test_files_that_are_older_than_the_field(tmp_path: Path) -> None:
    old = shop_of(tmp_path, placed(1), domain=with_orders(FIRST))
    old.take(ORDERS, [OffsetRange(0, 0, 1)])
    words = replace(SECOND, fields=(*FIRST.fields, replace(NOTE, fields=NOTE.fields[1:])))
    for domain, value in ((with_orders(words), {"words": ["a"]}), (with_orders(SECOND), {"text": "x"})):
        of = old.under(domain)
        start = len(of.values[ORDERS][0])
        of.values[ORDERS][0] = (*of.values[ORDERS][0], placed(start + 1, "1.1.0", note=value))  # type: ignore[index]
        of.take(ORDERS, [OffsetRange(0, start, start + 1)])
    assert of.silver("order_placed").height == 3
    assert found(uses(Lake(of.root), of.domain)) == [("field note.text", "web", 1, 0, of.now, of.now)]


def test_nothing_ends(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), domain=shop.domain())
    assert uses(Lake(of.root), of.domain).equals(pl.DataFrame(schema=SCHEMA))
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    assert uses(Lake(of.root), of.domain).equals(pl.DataFrame(schema=SCHEMA))


def test_no_table_yet(tmp_path: Path) -> None:
    assert uses(Lake(tmp_path), with_orders(ENDING, SECOND)).equals(pl.DataFrame(schema=SCHEMA))


def test_fields_in_lists(tmp_path: Path) -> None:
    item = Field("item", LogicalType.OBJECT, False, "", fields=(replace(NOTE.fields[0], name="sku"),))
    lines = Field("lines", LogicalType.ARRAY, False, "", item=item)
    of = shop_of(
        tmp_path,
        placed(1, lines=[{"sku": None}, None, {"sku": "s"}]),
        placed(2, lines=[{"sku": None}]),
        placed(3, lines=None),
        placed(4, lines=[]),
        domain=with_orders(replace(FIRST, header=replace(FIRST.header, digest="lines"), fields=(*FIRST.fields, lines))),
    )
    of.take(ORDERS, [OffsetRange(0, 0, 4)])
    used = uses(Lake(of.root), of.domain)
    assert used.select("what", "source", "rows").rows() == [("field lines[].sku", "web", 1)]


def test_the_command(tmp_path: Path, capsys, monkeypatch) -> None:
    of = shop_of(tmp_path, placed(1), domain=shop.domain())
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    folder = tmp_path / "contracts"
    source = FIRST.header.path.parents[2]
    for path in source.rglob("*"):
        if path.is_file():
            copy = folder / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.setenv("ANALYTICS_LAKE", str(of.root))
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(folder))
    assert run(["contracts", "usage"]) == 0
    assert capsys.readouterr().out == "nobody uses anything whose end is announced\n"
    placed_file = folder / "shop/order_placed/1.0.0.odcs.yaml"
    end = (
        "{property: deprecation, vendor: analytics_platform, value: {announcedOn: 2026-09-01, removeAfter: 2099-01-01}}"
    )
    text = placed_file.read_text().replace("status: active", "status: deprecated")
    placed_file.write_text(
        text.replace(
            "customProperties:\n  - property: envelope", f"customProperties:\n  - {end}\n  - property: envelope"
        )
    )
    assert run(["contracts", "usage", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "event": "order_placed",
        "what": "version 1.0.0",
        "last_day": "2099-01-01",
        "replaced_by": None,
        "source": "web",
        "rows": 1,
        "refused": 0,
        "first_seen": "2026-11-23 10:00:01+00:00",
        "last_seen": "2026-11-23 10:00:01+00:00",
    }
    assert run(["contracts", "usage", "--days", "36500"]) == 0
    assert "days left)" in capsys.readouterr().out
    of.values[ORDERS][0] = (*of.values[ORDERS][0], placed(2, source="[/red]\x1b[2J"))  # type: ignore[index]
    of.take(ORDERS, [OffsetRange(0, 1, 2)])
    assert run(["contracts", "usage"]) == 0
    assert " [/red]\\x1b[2J " in capsys.readouterr().out
