"""A service that events are enriched from stops for a while, and comes back: the stream goes on, the gaps are filled.

`DRILL_EVENTS=all` (`make drill`) stops it for a minute and prints how fresh silver was; without it, for a few seconds.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform.contract.model import Domain
from analytics_platform.kafka.produce import Record, Sender, create_topic
from analytics_platform.lookup_settings import LookupSettings
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.stream import follow
from analytics_platform.variable import Secret
from analytics_platform_tests import shop
from analytics_platform_tests.lookup.rates_server import Service
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order

ALL = os.environ.get("DRILL_EVENTS") == "all"
UP, DOWN = (timedelta(seconds=20), timedelta(seconds=60)) if ALL else (timedelta(seconds=2), timedelta(seconds=3))
PREFIX = "outage."
RATE = "{rate: {lookup: prices, on: [product], take: {euros: number}}}"
DAILY_SQL = """\
SELECT CAST(timezone('America/New_York', placed_at) AS date) AS day, product, CAST(max(euros) AS varchar) AS title,
    count(*) AS orders, CAST(sum(cents) AS bigint) AS cents
FROM silver.order_placed GROUP BY day, product
"""
"""Groups by nothing that is filled later."""


class Seller:
    """Sends an order every 20 ms until told to stop, each of a product that nobody asked for before."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.sent = 0
        self._over = threading.Event()
        self._kafka = kafka
        self._thread = threading.Thread(target=self._sell)
        self._thread.start()

    def _sell(self) -> None:
        sender = Sender(self._kafka)
        sender.know(PREFIX + ORDERS)
        while not self._over.wait(0.02):
            name = f"p-{self.sent}"
            sender.put(PREFIX + ORDERS, Record(None, order(order_id=name, product=name), partition=0))
            self.sent += 1
        sender.flush()
        sender.close()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service(rates={f"p-{number}": {"euros": number / 8} for number in range(20_000)})
    yield found
    found.stop()


def settings_of(lake: Path, servers: str, service: Service) -> Settings:
    asked = LookupSettings(
        "prices",
        url=Secret(service.url),
        timeout=timedelta(milliseconds=500),
        wait=timedelta(milliseconds=500),
        breaker_failures=3,
        breaker_pause=timedelta(seconds=1),
    )
    kafka = KafkaSettings(bootstrap_servers=servers, timeout=timedelta(seconds=5))
    return Settings(lake=lake, fsync=False, batch_interval=timedelta(milliseconds=100), kafka=kafka, lookups=(asked,))


def test_the_stream_goes_on_and_the_gaps_are_filled(tmp_path: Path, embedded: str, service: Service) -> None:
    of = shop.domain(enrich=RATE, daily=DAILY_SQL)
    domain: Domain = shop.renamed(of, PREFIX)
    settings = settings_of(tmp_path / "lake", embedded, service)
    for topic in (ORDERS, VISITS):
        create_topic(settings.kafka, PREFIX + topic)
    seller = Seller(settings.kafka)
    began = datetime.now(UTC)
    gone, back, over = began + UP, began + UP + DOWN, began + 2 * UP + DOWN
    port, again = service.port, None

    def stop() -> bool:
        """Looked at between micro-batches: the time to pull the plug, and to put it back."""
        nonlocal again
        now = datetime.now(UTC)
        if gone <= now < back and service.port:
            service.fails = "503"  # for connections that are open still
            service.stop()
            service.port = 0
        if now >= back and again is None:
            again = Service(rates=service.rates, port=port)
        return now >= over

    clock = lambda: datetime.now(UTC)  # noqa: E731
    hour = timedelta(hours=1)
    try:
        report = follow(domain, settings, clock=clock, budget=hour, idle=hour, stop=stop)
        seller.stop()
        deadline = time.monotonic() + 60
        while True:
            rest = follow(domain, settings, clock=clock, budget=timedelta(0), idle=timedelta(0))
            rows = Shop(settings.lake, {}, domain).silver("order_placed")
            if rows["rate_enriched_at"].null_count() == 0 and rows.height == seller.sent:
                break
            assert time.monotonic() < deadline, (rows.height, seller.sent, rows["rate_enriched_at"].null_count())
    finally:
        seller.stop()
        if again is not None:
            again.stop()
    assert not report.stopped | rest.stopped
    assert not report.broken | rest.broken
    assert report.missing["order_placed.rate"] > 0
    # Nothing is lost or doubled, and every row has what the service knows of it.
    expected = [(f"p-{number}", number / 8) for number in range(seller.sent)]
    assert sorted(rows.select("product", "euros").rows()) == sorted(expected)
    late = rows.filter(pl.col("rate_enriched_at") - pl.col("_ingested_at") > timedelta(milliseconds=700))
    assert late.height > 0
    assert late["_ingested_at"].min() < back  # type: ignore[operator]
    daily = Shop(settings.lake, {}, domain).gold("sales_daily")
    assert sorted(daily.select("product", "title").rows()) == sorted((name, str(euros)) for name, euros in expected)
    told = rows.with_columns(fresh=pl.col("_ingested_at") - pl.col("_kafka_timestamp"))
    for name, start, end in (("before", began, gone), ("meanwhile", gone, back), ("after", back, over)):
        part = told.filter(pl.col("_ingested_at").is_between(start, end))["fresh"].dt.total_milliseconds()
        sys.stdout.write(f"{name}: {len(part)} rows, bronze {part.median()} ms after Kafka, at most {part.max()} ms\n")
