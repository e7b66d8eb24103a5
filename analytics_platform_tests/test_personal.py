"""Values of classified fields stand in the pages of bronze and quarantine, and nowhere else."""

import hmac
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from analytics_platform import derive, reference
from analytics_platform.cli import run
from analytics_platform.contract.load import load_catalog
from analytics_platform.defs.location import code_location
from analytics_platform.defs.partition import hour_key
from analytics_platform.errors import KeyMissing, MartBroken, ReferenceRefused
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.keyring import KeyRing
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.table import Lake
from analytics_platform.rebuild import rebuild
from analytics_platform.settings import KafkaSettings, Secret, Settings
from analytics_platform.stream import follow
from analytics_platform_tests import person, shop
from analytics_platform_tests.person import found_beside_the_rows, found_in_files, found_in_tables
from analytics_platform_tests.shop import ORDERS, START, VISITS, Shop

CANARY = "kanarienvogel"
NOW = datetime(2024, 7, 1, 12, tzinfo=UTC)
DOMAIN = person.domain()
RING = KeyRing({"customers": bytes.fromhex(person.KEY)})


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


def settings_of(lake: Path, servers: str) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=servers, timeout=timedelta(seconds=5))
    return Settings(
        lake=lake,
        contracts=person.contracts_of(DOMAIN),
        fsync=False,
        idle=timedelta(seconds=0.5),
        kafka=kafka,
        keys=(("customers", Secret(person.KEY)),),
    )


def test_a_canary_is_seen_nowhere(
    tmp_path: Path, broker: EmbeddedBroker, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent in every field, in good records and in bad ones, through the command line and through Dagster."""
    broken_mart = person.domain(daily=person.BREAKS_ON_A_VALUE)
    settings = replace(
        settings_of(tmp_path / "lake", broker.bootstrap_servers), contracts=person.contracts_of(broken_mart)
    )
    for topic in (ORDERS, VISITS):
        create_topic(settings.kafka, topic)

    def produce(*values: bytes) -> None:
        header = (("from", CANARY.encode()),)
        send(settings.kafka, ORDERS, [Record(CANARY.encode(), value, partition=0, headers=header) for value in values])

    for name in [name for name in os.environ if name.startswith("ANALYTICS_")]:
        monkeypatch.delenv(name)
    for name, value in settings.environ().items():
        monkeypatch.setenv(name, value)
    produce(person.order("o-1", CANARY), *person.troubles(CANARY))
    assert run(["--debug", "stream", "--once"]) == 1  # the mart that breaks on a value
    hour = person.at(datetime.now(UTC))
    codes = [run(["rebuild", "--hours", hour]), run(["status", "--json"]), run(["contracts", "list"]), run(["doctor"])]
    assert codes == [1, 0, 0, 0]  # the mart again

    quarantined = ["quarantine", "list"], ["quarantine", "show", "--json"], ["quarantine", "replay", "--all"]
    assert [run(list(command)) for command in quarantined] == [0, 0, 0]
    assert run(["quarantine", "discard", "--all", "--reason", "test"]) == 0

    produce(person.order("o-2", CANARY), person.order("o-1", CANARY, note="again"), *person.troubles(CANARY))
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        definitions = code_location(load_catalog(settings.contracts), (), settings, lambda: datetime.now(UTC))
        job = definitions.resolve_job_def("shop_burst")
        ends = [{"topic": ORDERS, "partition": 0, "start": 28, "end": 57}]
        for ranges in (ends, []):  # a burst, then a rebuild
            config = {"ops": {"shop_stream": {"config": {"ranges": ranges, "budget_seconds": 0.0}}}}
            key = hour_key(datetime.now(UTC))
            job.execute_in_process(instance=instance, partition_key=key, run_config=config, raise_on_error=False)

    out, err = capfd.readouterr()
    assert "gold.sales_daily: its SQL fails: ConversionException" in out
    said = out + err
    assert CANARY not in said
    assert person.KEY not in said
    assert found_beside_the_rows(tmp_path, CANARY, person.KEY, "1931-07-19") == []
    raw = [
        f"{table}.{name}" for table in ("bronze.shop_orders", "quarantine.shop") for name in ("headers", "key", "value")
    ]
    # `note` is declared to be kept.
    assert found_in_files(settings.lake, CANARY) == [*raw, "silver.order_placed.note"]
    of = Shop(settings.lake, {}, broken_mart)
    assert of.quarantine().height == 2 * len(person.troubles(CANARY))
    assert of.silver("order_placed").height == 2


def shop_of(root: Path, *values: bytes) -> Shop:
    return Shop(root / "lake", {ORDERS: {0: values}, VISITS: {}}, DOMAIN, keys=RING)


def digest(text: str) -> str:
    return hmac.new(bytes.fromhex(person.KEY), text.encode(), "sha256").hexdigest()


def test_stream_and_rebuild_treat_alike(tmp_path: Path) -> None:
    of = shop_of(tmp_path, person.order("o-1", "ada"), person.order("o-2", "ada", email=None, ship=None))
    of.take_all()
    expected = [
        (digest("ada@mail.example"), "***99", None, "ring twice, ada", None,
         {"street": "***", "city": "Ghent", "with": [digest("ada senior"), None]}),
        (None, "***99", None, "ring twice, ada", None, None),
    ]  # fmt: skip
    columns = ["email", "phone", "card", "note", "born", "ship"]
    assert of.silver("order_placed").sort("order_id").select(columns).rows() == expected
    versions = of.versions()
    settings = replace(of.settings, keys=(("customers", Secret(person.KEY)),))
    hours = (START, START + timedelta(hours=1))
    assert not rebuild(DOMAIN, settings, *hours, clock=of.clock).changed
    assert of.versions() == versions
    spec = of.specs()[3]
    assert spec.title == "silver.order_placed"
    before = of.exact()
    commit(of.lake, spec, lambda _t, _l: Change(of.rows(spec).clear(), replaces_all=True))
    assert rebuild(DOMAIN, settings, *hours, clock=of.clock).changed
    assert shop.same(of.exact(), before)


def test_rules_and_keys_see_true_values(tmp_path: Path) -> None:
    """A hash matches no pattern and a masked identifier would make another key."""
    of = shop_of(tmp_path, person.order("o-1", "ada"), person.order("o-1", "ada"), person.order("o-2", "a da"))
    of.take_all()
    assert of.silver("order_placed")["_offset"].to_list() == [0]
    assert of.quarantine()["offset"].to_list() == [2]


def test_statistics_of_open_columns_stay(tmp_path: Path) -> None:
    of = shop_of(tmp_path, person.order("o-1", "ada"))
    of.take_all()
    lake = of.root
    # Order identifiers are open: readers may skip row groups by them.
    assert [path.split("/")[1:3] for path in found_beside_the_rows(lake.parent, "o-1")] == [["silver", "order_placed"]]
    assert found_in_tables(lake, "ada@mail.example") == ["bronze.shop_orders.value"]


def test_a_key_of_a_reference_table_that_is_classified(tmp_path: Path) -> None:
    (products,) = DOMAIN.references
    fields = tuple(
        replace(one, classification="restricted") if one.name == "product" else one for one in products.fields
    )
    file = tmp_path / "products.csv"
    file.write_text("product,title\nkanarienvogel,Bird\n")
    lake = Lake(tmp_path / "lake", fsync=False)
    secret = replace(products, fields=fields, file=file)
    reference.load_reference(lake, secret, NOW)
    table = lake.newest(reference.spec(secret))
    assert table is not None
    table.create_checkpoint()
    assert found_in_tables(lake.root, "kanarienvogel") == ["reference.products.product"]
    assert found_beside_the_rows(lake.root, "kanarienvogel") == []


def test_a_file_that_does_not_fit_is_refused_without_its_values(tmp_path: Path) -> None:
    (products,) = DOMAIN.references
    kind = DOMAIN.events[0].fields[9].type
    fields = tuple(replace(one, type=kind) if one.name == "title" else one for one in products.fields)
    file = tmp_path / "products.csv"
    file.write_text("product,title\nmug,kanarienvogel\n")
    with pytest.raises(ReferenceRefused) as caught:
        reference.load_reference(Lake(tmp_path / "lake", fsync=False), replace(products, fields=fields, file=file), NOW)
    assert caught.value.reason == "products.csv: not of its contract's type: title"


def test_a_result_that_does_not_fit_is_refused_without_its_values(tmp_path: Path) -> None:
    daily = shop.DAILY_SQL.replace("CAST(sum(cents) AS bigint) AS cents", "max(note) AS cents")
    of = shop_of(tmp_path, person.order("o-1", CANARY))
    of.take_all()
    mart = replace(next(one for one in DOMAIN.marts if one.name == "sales_daily"), sql=daily)
    changed = replace(mart, header=replace(mart.header, digest="f" * 64))
    with pytest.raises(MartBroken) as caught:
        of.under(replace(DOMAIN, marts=(changed,))).refresh()
    assert caught.value.reason == "not of its contract's type: cents"


def test_a_missing_key_stops_the_domain_before_anything_is_committed(tmp_path: Path) -> None:
    settings = replace(settings_of(tmp_path / "lake", "127.0.0.1:1"), keys=())
    sentence = (
        "settings: shop: its personal data wants the key customers, and there is neither ANALYTICS_KEY_CUSTOMERS nor such "
        "a line in ANALYTICS_KEYS_FILE; nothing was read or written (docs/personal-data.md#keys). See docs/settings.md "
        "for all of them."
    )
    with pytest.raises(KeyMissing) as caught:
        follow(DOMAIN, settings, clock=lambda: START, budget=timedelta(0), idle=timedelta(0))
    assert str(caught.value) == sentence
    with pytest.raises(KeyMissing):
        rebuild(DOMAIN, settings, START, START + timedelta(hours=1), clock=lambda: START)
    of = replace(shop_of(tmp_path, person.order("o-1", "ada")), keys=KeyRing())
    part = of.pour(ORDERS, of.whole(ORDERS))
    with pytest.raises(KeyMissing):
        derive.take_in(of.lake, DOMAIN, part, now=of.now)
    assert list(of.versions()) == ["bronze.shop_orders"]
