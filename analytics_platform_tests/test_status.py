from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from analytics_platform import gold
from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Domain
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.status import QuarantineStatus, TopicStatus, status
from analytics_platform.stream import follow
from analytics_platform_tests import shop
from analytics_platform_tests.shop import Shop, feed

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOBODY = KafkaSettings(bootstrap_servers="127.0.0.1:1", timeout=timedelta(seconds=0.2))


@pytest.fixture(scope="module")
def domain() -> Domain:
    return load_catalog(Path(__file__).parent.parent / "contracts").domains["flights"]


def test_nothing_there(tmp_path: Path, domain: Domain):
    found = status([domain], Settings(lake=tmp_path / "lake", kafka=NOBODY), NOW)
    assert found.kafka_trouble is not None
    assert found.kafka_trouble.startswith("Kafka at 127.0.0.1:1 does not answer")
    assert found.topics == tuple(
        TopicStatus("flights", topic, None, None)
        for topic in ("flights.arrivals", "flights.departures", "flights.weather")
    )
    assert (found.tables, found.quarantine, dict(found.freshness)) == ((), (), {})


def test_tables_are_counted_and_dated(tmp_path: Path):
    times = {"_ingested_at": [NOW - timedelta(seconds=5)] * 2, "occurred_at": [NOW - timedelta(hours=1), None]}
    rows = pl.DataFrame(times, schema={name: pl.Datetime("us", "UTC") for name in times})
    write_deltalake(tmp_path / "silver" / "events", rows)
    write_deltalake(tmp_path / "silver" / "events", rows.with_columns(pl.all() - timedelta(days=1)), mode="append")
    quarantined = pl.DataFrame(
        {
            "codes": [["missing_field", "rule_violated"], ["missing_field"], ["missing_field"]],
            "status": ["new", "new", "replayed"],
            "ingested_at": [NOW] * 3,
        },
        schema_overrides={"ingested_at": pl.Datetime("us", "UTC")},
    )
    write_deltalake(tmp_path / "quarantine" / "shop", quarantined)
    found = status([], Settings(lake=tmp_path, kafka=NOBODY), NOW)
    assert found.kafka_trouble is None  # nobody was asked
    quarantine, silver = found.tables
    assert (silver.layer, silver.name, silver.version, silver.rows, silver.files) == ("silver", "events", 1, 4, 2)
    assert (silver.newest_occurred_at, silver.newest_ingested_at) == (
        NOW - timedelta(hours=1),
        NOW - timedelta(seconds=5),
    )
    assert (quarantine.newest_occurred_at, quarantine.newest_ingested_at) == (None, NOW)
    assert found.freshness == {"silver.events": timedelta(hours=1)}
    assert found.quarantine == (
        QuarantineStatus("shop", "missing_field", "new", 2),
        QuarantineStatus("shop", "missing_field", "replayed", 1),
        QuarantineStatus("shop", "rule_violated", "new", 1),
    )


def test_marts_that_are_stale_or_being_built(tmp_path: Path):
    of = Shop(tmp_path / "lake", feed(4, 60))
    of.take_all()
    settings = Settings(lake=of.root, kafka=NOBODY)
    assert status([of.domain], settings, NOW).building == ()
    of = of.under(shop.domain(hourly=shop.HOURLY_SQL.replace("1 AS placed", "2 AS placed")))
    (stale,) = status([of.domain], settings, NOW).building
    assert stale.line() == (
        "gold.sales_hourly is stale: the next burst builds it from all history; its rows are as before"
    )
    list(gold.refresh(of.lake, of.domain, {}, pace=gold.Pace(10, timedelta(0))))
    (half,) = status([of.domain], settings, NOW).building
    assert half.line().startswith("gold.sales_hourly is being built from all history: ")
    assert 0 < half.share < 1


def test_lag_and_a_topic_in_trouble(tmp_path: Path, embedded: str, domain: Domain):
    topic, missing = "status.weather", "status.missing"
    kafka = KafkaSettings(bootstrap_servers=embedded)
    settings = Settings(lake=tmp_path, kafka=kafka)
    weather = replace(next(event for event in domain.events if event.name == "weather_observed"), topic=topic)
    shop = Domain("shop", (weather, replace(weather, topic=missing)), (), ())
    alone = replace(shop, events=(weather,))
    create_topic(kafka, topic)
    send(kafka, topic, [Record(None, b"no event") for _ in range(3)])
    follow(alone, settings, clock=lambda: NOW, budget=timedelta(0), idle=timedelta(0))
    send(kafka, topic, [Record(None, b"no event") for _ in range(4)])
    found = status([shop], settings, NOW)
    trouble = f"status.missing: no such topic at {embedded}. Create it, or mend `physicalName` in its contracts."
    assert found.topics == (TopicStatus("shop", missing, None, trouble), TopicStatus("shop", topic, 4, None))
    assert found.kafka_trouble is None
    assert found.quarantine == (QuarantineStatus("shop", "malformed_json", "new", 3),)
