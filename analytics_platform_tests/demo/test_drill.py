"""Flights out of order, doubled and late, in batches of any size: after every so many every mart equals its answer.

`DRILL_EVENTS=all` (`make drill`) takes the whole year; without it, some days.
"""

import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from analytics_platform import gold, silver
from analytics_platform.contract.model import Catalog, Domain
from analytics_platform.demo.answers import KEYS, answers, compare
from analytics_platform.demo.events import Event, events
from analytics_platform.kafka.produce import Record, Sender, create_topic
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform.lateness import lateness
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.stream import follow

ALL = os.environ.get("DRILL_EVENTS") == "all"
FIRST = None if ALL else 2_500
SIZES = (300, 2_500) if ALL else (40, 160)
EVERY = 100 if ALL else 10
"""So many batches from one look at the marts to the next."""
DISORDER = timedelta(hours=6)
"""As the contracts allow."""
PREFIX = "drill."


class Sent(NamedTuple):
    """An event on its way."""

    number: int
    """Its place in the order of `events`, from 1."""
    event: Event
    is_late: bool


def disorder(found: Sequence[Event], chance: random.Random) -> list[Sent]:
    """Every event once, up to six hours out of order, one in twenty a week; and one in twenty a second time, later."""
    timed: list[tuple[float, int, Sent]] = []
    for number, event in enumerate(found, 1):
        is_late = chance.random() < 0.05
        delay = chance.uniform(3, 28) if is_late else chance.random()
        at = event.occurred_at_us + delay * DISORDER / timedelta(microseconds=1)
        timed.append((at, len(timed), Sent(number, event, is_late)))
        if chance.random() < 0.05:
            again = at + chance.uniform(0, 12) * DISORDER / timedelta(microseconds=1)
            timed.append((again, len(timed), Sent(number, event, is_late)))
    return [sent for _, _, sent in sorted(timed)]


def batches(sent: Sequence[Sent], chance: random.Random) -> Iterator[Sequence[Sent]]:
    start = 0
    while start < len(sent):
        size = chance.randint(*SIZES)
        yield sent[start : start + size]
        start += size


def produce(settings: KafkaSettings, batch: Sequence[Sent]) -> None:
    by_topic: dict[str, list[Record]] = defaultdict(list)
    for _, event, _ in batch:
        by_topic[PREFIX + event.topic].append(Record(event.key, event.value, headers=event.headers))
    sender = Sender(settings)
    for topic, records in by_topic.items():
        sender.know(topic)
        for record in records:
            sender.put(topic, record)
    sender.flush()
    sender.close()


def standing(lake: Lake, domain: Domain, title: str) -> pl.DataFrame:
    name = title.partition(".")[2]
    if title.startswith("gold."):
        spec = gold.spec(next(mart for mart in domain.marts if mart.name == name))
    else:
        spec = silver.spec(domain.versions_of(name))
    table = lake.newest(spec)
    return pl.DataFrame(schema=spec.schema) if table is None else Snapshot.of(table).scan().collect()


def is_right(lake: Lake, domain: Domain, reference: Path, numbers: set[int]) -> None:
    truth = answers(reference, among=sorted(numbers))
    for title, keys in KEYS.items():
        difference = compare(standing(lake, domain, title), truth.tables[title], keys)
        assert difference.none, (title, difference)


@pytest.mark.timeout(7200 if ALL else 300)
def test_every_mart_is_right_all_the_way(apache: str, tmp_path: Path, catalog: Catalog, reference: Path) -> None:
    chance = random.Random(2013)
    domain = catalog.domains["flights"]
    domain = replace(domain, events=tuple(replace(event, topic=PREFIX + event.topic) for event in domain.events))
    kafka = KafkaSettings(bootstrap_servers=apache)
    for topic in domain.topics:
        create_topic(kafka, topic)
    settings = Settings(lake=tmp_path / "lake", kafka=kafka, batch_interval=timedelta(0), fsync=False)
    lake = Lake(settings.lake)
    sent = disorder(list(events(catalog, reference, FIRST)), chance)
    arrived: set[int] = set()
    looks = 0
    for number, batch in enumerate(batches(sent, chance), 1):
        produce(kafka, batch)
        report = follow(domain, settings, clock=lambda: datetime.now(UTC), budget=timedelta(0), idle=timedelta(0))
        assert not report.stopped
        assert not report.broken
        arrived |= {one.number for one in batch}
        if number % EVERY == 0:
            is_right(lake, domain, reference, arrived)
            looks += 1
            sys.stdout.write(f"{number} batches, {len(arrived):,} events: every mart is right\n")
    assert looks
    is_right(lake, domain, reference, arrived)
    assert arrived == set(range(1, len(arrived) + 1))
    # Late is what was held back and nothing else: six hours are allowed.
    told = lateness(lake, domain)
    held_back = {one.number for one in sent if one.is_late}
    assert told["rows"].sum() == len(arrived)
    assert 0.6 * len(held_back) <= told["late"].sum() <= len(held_back)
    restated = standing(lake, domain, "gold.departures_hourly")
    assert {"final", "restated"} <= set(restated["_status"])
    sys.stdout.write(f"{len(sent):,} records, {len(arrived):,} events, {told['late'].sum():,} of them late\n")
