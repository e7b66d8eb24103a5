"""Reference tables that follow a topic of a real broker."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl

from analytics_platform import bronze, reference
from analytics_platform.contract.model import Domain
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.stream import follow, plan_domain
from analytics_platform_tests import shop
from analytics_platform_tests.pricelist import at, contract_of, domain, price

NOTHING = timedelta(0)


def settings_of(root: Path, servers: str) -> Settings:
    kafka = KafkaSettings(bootstrap_servers=servers, timeout=timedelta(seconds=10))
    return Settings(lake=root / "lake", fsync=False, batch_interval=NOTHING, kafka=kafka)


def only_prices(prefix: str) -> Domain:
    """The prices alone, over a topic of their own name."""
    renamed = shop.renamed(domain(), prefix)
    prices = tuple(event for event in renamed.events if event.name == "prices")
    return replace(renamed, events=prices, references=renamed.followed, marts=())


def records(*changes: tuple[str, int | None, int]) -> list[Record]:
    return [Record(*price(*change), partition=0) for change in changes]


def burst(of: Domain, settings: Settings) -> int:
    """Takes in what is there; how many records that were."""
    report = follow(of, settings, clock=lambda: datetime.now(UTC), budget=NOTHING, idle=NOTHING)
    assert (report.stopped, report.broken, report.total.adds_up) == ({}, {}, True)
    return report.total.read


def history(of: Domain, settings: Settings) -> list[tuple[object, ...]]:
    spec = reference.spec(contract_of(of))
    rows = Snapshot.of(Lake(settings.lake).ensure(spec)).scan().collect().sort("product", "_valid_from")
    minutes = (pl.col("_valid_from") - at(0)).dt.total_minutes()
    return rows.select("product", "cents", minutes, pl.col("_valid_to").is_null()).rows()


def test_a_burst_keeps_the_versions_up_to_the_topic(tmp_path: Path, embedded: str) -> None:
    settings, of = settings_of(tmp_path, embedded), only_prices(uuid4().hex[:8] + ".")
    create_topic(settings.kafka, of.topics[0])
    send(settings.kafka, of.topics[0], records(("mug", 100, 0), ("pen", 10, 0), ("mug", 120, 5)))
    with KafkaLog(settings) as log:
        assert plan_domain(of, settings, log, now=datetime.now(UTC)).lag == 3
    assert burst(of, settings) == 3
    send(settings.kafka, of.topics[0], records(("mug", 110, 3)))
    assert burst(of, settings) == 1
    assert history(of, settings) == [
        ("mug", 100, 0, False),
        ("mug", 110, 3, False),
        ("mug", 120, 5, True),
        ("pen", 10, 0, True),
    ]
    assert burst(of, settings) == 0


def test_a_topic_that_was_compacted(tmp_path: Path, apache: str) -> None:
    settings, of = settings_of(tmp_path, apache), only_prices(uuid4().hex[:8] + ".")
    (topic,) = of.topics
    soon = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.01",
        "segment.ms": "100",
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": "100",
    }
    create_topic(settings.kafka, topic, partitions=1, config=soon)
    send(
        settings.kafka, topic, records(*(("mug", cents, cents) for cents in range(40)), ("pen", 1, 0), ("pen", None, 0))
    )
    left = 42
    deadline = time.monotonic() + 90
    with KafkaLog(settings) as log:
        while left > 10:  # the newest segment is never compacted: roll it, and wait for the cleaner
            assert time.monotonic() < deadline, left
            send(settings.kafka, topic, records(("cup", 1, 0)))
            end = log.state(topic).partitions[0].end
            left = (
                log.read(topic, [OffsetRange(0, 0, end)], max_bytes=1 << 20)
                .frame.filter(pl.col("key") == b"mug")
                .height
            )
    send(settings.kafka, topic, records(("mug", 999, 50)))
    burst(of, settings)
    rows = Snapshot.of(Lake(settings.lake).ensure(bronze.spec(topic))).scan().collect()
    assert rows["offset"].max() == end
    assert rows.height < end + 1
    found = [row for row in history(of, settings) if row[0] != "cup"]
    mug = [row for row in found if row[0] == "mug"]
    assert mug[-2:] == [("mug", 39, 39, False), ("mug", 999, 50, True)]
    assert [row[1] for row in found if row[0] == "pen"][-1] is None
    assert burst(of, settings) == 0
