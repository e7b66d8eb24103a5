"""The shipped contracts and real flights, with a broker of its own: the contracts name the topics."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Catalog
from analytics_platform.defs.location import code_location
from analytics_platform.defs.partition import hour_key
from analytics_platform.defs.sensors import Ask, Cursor, decide
from analytics_platform.demo.events import Event, events
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.stream import plan_domain

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"
NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def produce(servers: str, found: list[Event]) -> None:
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
    for event in found:
        producer.produce(event.topic, event.value, event.key, headers=list(event.headers))
    assert producer.flush(30) == 0


class Platform:
    """The shipped code location over a lake, run in this process."""

    def __init__(self, catalog: Catalog, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance, self.now = settings, instance, NOW
        self.started = time.monotonic()
        self.domain = catalog.domains["flights"]
        self.definitions = code_location(catalog, (), settings, self.clock)

    def clock(self) -> datetime:
        """`now`, and going on from there: a burst ends by the clock."""
        return self.now + timedelta(seconds=time.monotonic() - self.started)

    def run(self, *, ranges: list[dict[str, Any]] | None = None, hour: datetime = NOW, select: list[str] | None = None):
        config = {"ops": {"flights_stream": {"config": {"ranges": ranges or [], "budget_seconds": 3.0}}}}
        return self.definitions.resolve_job_def("flights_burst").execute_in_process(
            instance=self.instance,
            partition_key=hour_key(hour),
            run_config=config,
            raise_on_error=False,
            asset_selection=None if select is None else [dg.AssetKey(item.split("/")) for item in select],
        )

    def waiting(self) -> list[dict[str, Any]]:
        """What the sensor would ask for."""
        with KafkaLog(self.settings) as log:
            decision = decide("flights", plan_domain(self.domain, self.settings, log, now=self.now), Cursor(), self.now)
        assert isinstance(decision, Ask)
        return list(decision.ranges)

    def rows(self, table: str) -> int:
        return DeltaTable(self.settings.lake / table).to_pyarrow_table().num_rows

    def messages(self, run_id: str) -> list[str]:
        return [entry.user_message for entry in self.instance.all_logs(run_id)]


@pytest.fixture(scope="session")
def some_flights(catalog: Catalog) -> list[Event]:
    """The first 1,200 events of the year: every type is among them, cancellations too."""
    return list(events(catalog, CONTRACTS / "flights" / "reference", 1_200))


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog(CONTRACTS)


def settings_of(lake: Path, broker: EmbeddedBroker) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, timeout=timedelta(seconds=2))
    return Settings(lake=lake, contracts=CONTRACTS, fsync=False, idle=timedelta(seconds=0.5), kafka=kafka)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, broker: EmbeddedBroker) -> Settings:
    return settings_of(tmp_path / "lake", broker)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def platform(catalog: Catalog, settings: Settings, instance: dg.DagsterInstance) -> Platform:
    return Platform(catalog, settings, instance)


@pytest.fixture(scope="session")
def taken_in(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog, some_flights: list[Event]) -> Settings:
    """A lake that one burst has filled; its broker is gone."""
    with EmbeddedBroker() as broker, dg.DagsterInstance.ephemeral() as instance:
        platform = Platform(catalog, settings_of(tmp_path_factory.mktemp("taken-in") / "lake", broker), instance)
        produce(broker.bootstrap_servers, some_flights)
        assert platform.run(ranges=platform.waiting()).success
        return platform.settings


@pytest.fixture
def filled(tmp_path: Path, taken_in: Settings, catalog: Catalog, instance: dg.DagsterInstance) -> Platform:
    """A copy of that lake for one test."""
    shutil.copytree(taken_in.lake, tmp_path / "lake")
    return Platform(catalog, replace(taken_in, lake=tmp_path / "lake"), instance)
