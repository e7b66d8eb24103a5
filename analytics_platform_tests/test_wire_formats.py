"""Framed values from Kafka to silver, with a registry that comes and goes."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import fastavro
import polars as pl
import pytest

from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.model import Catalog, Domain
from analytics_platform.errors import InvalidEvents, SchemaNotPublished
from analytics_platform.kafka.frame import WireFormat, framed
from analytics_platform.kafka.produce import create_topic
from analytics_platform.kafka.registry import Registry
from analytics_platform.produce import Event, Producer
from analytics_platform.publish import publish
from analytics_platform.rebuild import rebuild
from analytics_platform.replay import replay
from analytics_platform.report import BurstReport
from analytics_platform.selection import Selection
from analytics_platform.settings import KafkaSettings, RegistrySettings, Settings
from analytics_platform.stream import follow
from analytics_platform_tests import shop
from analytics_platform_tests.registry import StandIn
from analytics_platform_tests.shop import ORDERS, VISITS, order, view
from analytics_platform_tests.test_stream import NOTHING, Burst

TIMES = ("occurred_at", "placed_at")
EVER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass
class AvroBurst(Burst):
    """Orders come in Avro, visits in bare JSON."""

    registry: RegistrySettings = field(default_factory=RegistrySettings)

    @property
    def domain(self) -> Domain:
        of = super().domain
        wires = {self.orders: WireFormat.AVRO}
        return replace(of, events=tuple(replace(one, wire=wires.get(one.topic, one.wire)) for one in of.events))

    @property
    def settings(self) -> Settings:
        return replace(super().settings, registry=self.registry)

    def follow(self, **rest: Any) -> BurstReport:
        given = {"clock": lambda: datetime.now(UTC), "budget": NOTHING, "idle": NOTHING} | rest
        return follow(self.domain, self.settings, **given)

    def schema(self, name: str = "order_placed") -> str:
        (contract,) = self.domain.versions_of(name)
        return json.dumps(avro_schema(contract))

    def avro(self, number: int, value: bytes) -> bytes:
        event = {
            name: datetime.fromisoformat(said) if name in TIMES else said for name, said in json.loads(value).items()
        }
        stream = io.BytesIO()
        schema = fastavro.parse_schema(json.loads(self.schema(event["event_type"])))
        fastavro.schemaless_writer(stream, schema, event)
        return framed(number, stream.getvalue())

    def silver(self, name: str = "order_placed") -> list[str]:
        return sorted(self.shop().silver(name)["order_id" if name != "page_viewed" else "visit"])


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    found = StandIn()
    yield found
    found.close()


@pytest.fixture
def burst(tmp_path: Path, embedded: str, stand_in: StandIn) -> AvroBurst:
    registry = RegistrySettings(url=stand_in.url, timeout=timedelta(seconds=1))
    one = AvroBurst(tmp_path / "lake", embedded, registry=registry)
    one.send({ORDERS: {}, VISITS: {}})
    return one


def test_avro_and_json_end_in_the_same_rows(burst: AvroBurst, stand_in: StandIn, tmp_path: Path) -> None:
    number = stand_in.register(burst.schema())
    other = stand_in.register(burst.schema("order_cancelled"))
    orders = [order(order_id=f"o{n}") for n in range(20)] + [order(order_id="o3")]
    cancelled = [order("order_cancelled", order_id="o7")]
    burst.send(
        {ORDERS: {0: [burst.avro(number, one) for one in orders] + [burst.avro(other, one) for one in cancelled]}}
    )
    report = burst.follow()
    assert (report.stopped, report.total.read, report.total.duplicate) == ({}, 22, 1)
    plain = Burst(tmp_path / "plain", burst.servers)
    plain.send({ORDERS: {0: [*orders, *cancelled]}, VISITS: {}})
    plain.follow()
    for name in ("silver.order_placed", "silver.order_cancelled", "gold.sales_hourly"):
        assert shop.same({name: burst.shop().business()[name]}, {name: plain.shop().business()[name]})


@pytest.mark.parametrize("fails", ["down", "mute", "trickle"])
def test_the_registry_is_down(burst: AvroBurst, stand_in: StandIn, fails: str) -> None:
    """What needs it waits in bronze, everything else goes on, and nothing is lost or quarantined."""
    number = stand_in.register(burst.schema())
    burst.send({ORDERS: {0: [burst.avro(number, order(order_id="a"))]}, VISITS: {0: [view(visit="v")]}})
    stand_in.fails = fails
    burst.registry = replace(burst.registry, timeout=timedelta(seconds=0.1))
    report = burst.follow()
    assert "does not answer (reading the schema id:1)" in report.stopped[burst.orders]
    assert burst.shop().bronze(burst.orders).height == 1
    assert (burst.shop().quarantine().height, burst.silver("page_viewed")) == (0, ["v"])
    # It does not run ahead either: bronze grows by no second batch.
    burst.send({ORDERS: {0: [burst.avro(number, order(order_id="b"))]}})
    assert list(burst.follow().stopped) == [burst.orders]
    assert burst.shop().bronze(burst.orders).height == 1
    stand_in.fails = None
    stand_in.released.set()
    burst.registry = RegistrySettings(url=stand_in.url)
    assert burst.follow().stopped == {}
    assert burst.silver() == ["a", "b"]
    assert burst.shop().quarantine().height == 0


def test_no_registry_is_set(burst: AvroBurst, stand_in: StandIn) -> None:
    number = stand_in.register(burst.schema())
    burst.send({ORDERS: {0: [burst.avro(number, order())]}, VISITS: {0: [view(visit="v")]}})
    burst.registry = RegistrySettings()
    report = burst.follow()
    assert "ANALYTICS_REGISTRY_URL is not set" in report.stopped[burst.orders]
    assert burst.silver("page_viewed") == ["v"]


def test_a_rebuild_needs_no_registry(burst: AvroBurst, stand_in: StandIn) -> None:
    number = stand_in.register(burst.schema())
    burst.send({ORDERS: {0: [burst.avro(number, order(order_id=f"o{n}")) for n in range(5)]}})
    burst.follow()
    before = burst.shop().business()
    burst.registry = RegistrySettings()
    report = rebuild(burst.domain, burst.settings, *EVER, clock=lambda: datetime.now(UTC), by="t")
    assert (report.records, sum(report.added.values()), sum(report.removed.values())) == (5, 0, 0)
    assert shop.same(burst.shop().business(), before)


def test_a_schema_that_nobody_registered(burst: AvroBurst, stand_in: StandIn) -> None:
    """Only its own records are quarantined, and a replay takes them in once it is there; twice is once."""
    number = stand_in.register(burst.schema())
    late = [burst.avro(number + 1, order("order_cancelled", order_id="late"))]
    burst.send({ORDERS: {0: [burst.avro(number, order(order_id="a")), *late]}})
    report = burst.follow()
    assert (report.stopped, report.reasons) == ({}, {"unknown_schema": 1})
    assert stand_in.register(burst.schema("order_cancelled")) == number + 1
    for entered in ({"silver.order_cancelled": 1}, {}):
        done = replay(burst.domain, burst.settings, Selection(), clock=lambda: datetime.now(UTC), by="t")
        assert {name: count for name, count in done.entered.items() if count} == entered
    assert (burst.silver(), burst.silver("order_cancelled")) == (["a"], ["late"])


def test_the_registry_is_down_during_a_replay(burst: AvroBurst, stand_in: StandIn) -> None:
    burst.send({ORDERS: {0: [burst.avro(1, order(order_id="a"))]}})
    assert burst.follow().reasons == {"unknown_schema": 1}
    stand_in.register(burst.schema())
    stand_in.fails = "500"
    with pytest.raises(Exception, match="Nothing was lost"):
        replay(burst.domain, burst.settings, Selection(), clock=lambda: datetime.now(UTC), by="t")
    assert burst.shop().quarantine()["status"].to_list() == ["new"]


@pytest.mark.parametrize("wire", [WireFormat.AVRO, WireFormat.PROTOBUF, WireFormat.JSON_SCHEMA])
def test_what_the_producer_writes_is_read(tmp_path: Path, embedded: str, stand_in: StandIn, wire: WireFormat) -> None:
    prefix = f"{uuid4().hex[:8]}."
    of = shop.renamed(shop.domain(), prefix)
    domain = replace(of, events=tuple(replace(one, wire=wire) for one in of.events))
    settings = Settings(
        lake=tmp_path / "lake",
        fsync=False,
        kafka=KafkaSettings(bootstrap_servers=embedded),
        registry=RegistrySettings(url=stand_in.url),
    )
    for topic in domain.topics:
        create_topic(settings.kafka, topic)
    at = datetime(2024, 7, 1, 10, 0, 0, 250001, tzinfo=UTC)
    events = [
        Event("order_placed", {"order_id": f"o{n}", "placed_at": at, "product": "mug", "cents": n}, occurred_at=at)
        for n in range(3)
    ]
    with Producer(settings, Catalog({"shop": domain}), source="/shop") as producer:
        with pytest.raises(SchemaNotPublished, match="contracts publish"):
            producer.send_all(events)
        registry = Registry(settings.registry)
        assert [one.new for one in publish(domain, registry, "order_placed")] == [True]
        registry.close()
        producer.send_all(events)
    report = follow(domain, settings, clock=lambda: datetime.now(UTC), budget=NOTHING, idle=NOTHING)
    assert (report.stopped, report.total.read, report.total.quarantined) == ({}, 3, 0)
    rows = pl.read_delta(str(tmp_path / "lake" / "silver" / "order_placed")).sort("cents")
    assert rows.select("order_id", "cents", "placed_at", "source").rows() == [
        (f"o{n}", n, at, "/shop") for n in range(3)
    ]


def test_a_producer_without_a_registry(embedded: str) -> None:
    of = shop.domain()
    domain = replace(of, events=tuple(replace(one, wire=WireFormat.AVRO) for one in of.events))
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=embedded))
    with (
        Producer(settings, Catalog({"shop": domain})) as producer,
        pytest.raises(InvalidEvents, match="comes in avro, and no registry was named"),
    ):
        producer.send("page_viewed", {"visit": "v", "page": "p"})
