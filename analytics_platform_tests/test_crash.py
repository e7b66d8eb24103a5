"""Bursts killed with SIGKILL: whatever the moment, running again gives the tables of a run that nobody disturbed."""

import json
import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest

from analytics_platform.enrich import Sources
from analytics_platform.fill import fill
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.kafka.produce import Record, Sender
from analytics_platform.lake.history import commit_infos
from analytics_platform.lake.table import Lake
from analytics_platform.rebuild import rebuild
from analytics_platform_tests import shop
from analytics_platform_tests.burst import AFTER, BEFORE, NEVER, PRELOAD, burst, settings
from analytics_platform_tests.shop import Shop
from analytics_platform_tests.test_enrich import facts, load
from analytics_platform_tests.test_fill import READS_TITLES

ROWS = 160
"""Records sent; about two micro-batches of orders and one of views."""
BATCH_ROWS = 70
LAKES = int(os.environ.get("CRASH_LAKES", "3"))
"""How many lakes are each disturbed five times at random; 40 make 200 kills and take some minutes."""


@dataclass
class World:
    """A broker that holds the feed, and what an undisturbed run makes of it."""

    servers: str
    undisturbed: Shop
    processes: ForkServerContext

    def run(self, lake: Path, die: str = NEVER, **rest: object) -> int | None:
        """One burst, to its end or death; returns its exit code."""
        process = self.start(lake, die, **rest)
        process.join(timeout=60)
        return process.exitcode

    def start(self, lake: Path, die: str = NEVER, **rest: object) -> ForkServerProcess:
        of = settings(lake, self.servers, BATCH_ROWS)
        domain = rest.pop("domain", self.undisturbed.domain)
        process = self.processes.Process(target=burst, args=(domain, of, die), kwargs=rest)
        process.start()
        return process

    def shop(self, lake: Path) -> Shop:
        return Shop(lake, self.undisturbed.values, batch_rows=BATCH_ROWS)

    def is_exact(self, lake: Path) -> None:
        """Rows, accounts and progress are those of the undisturbed run, and a rebuild finds nothing to mend."""
        found = self.shop(lake)
        shop.once(found)
        shop.same(found.business(), self.undisturbed.business())
        assert progress(found) == progress(self.undisturbed)
        assert accounts(found) == accounts(self.undisturbed)
        versions, now = found.versions(), datetime.now(UTC)
        report = rebuild(
            found.domain, found.settings, now - timedelta(hours=2), now + timedelta(hours=1), clock=found.clock
        )
        assert not report.changed
        assert found.versions() == versions


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOAD)
    folder = tmp_path_factory.mktemp("crash")
    values = shop.feed(7, ROWS)
    with EmbeddedBroker() as broker:
        sender = Sender(settings(folder, broker.bootstrap_servers, 1).kafka)
        for topic, parts in values.items():
            sender.know(topic)
            for partition, sent in parts.items():
                for value in sent:
                    sender.put(topic, Record(None, value, partition=partition))
        sender.flush()
        undisturbed = Shop(folder / "undisturbed", values, batch_rows=BATCH_ROWS)
        world = World(broker.bootstrap_servers, undisturbed, processes)
        assert world.run(undisturbed.root) == 0
        world.is_exact(undisturbed.root)
        yield world


def progress(of: Shop) -> dict[str, dict[str, int | None]]:
    """How far every table has read every partition of its topics."""
    names = [shop_log.app_id(partition) for shop_log in logs(of) for partition in range(4)]
    lake = Lake(of.root)
    return {
        spec.title: {name: table.transaction_version(name) for name in names}
        for spec in of.specs()
        if spec.layer != "gold" and (table := lake.newest(spec)) is not None
    }


def logs(of: Shop) -> list[shop.Log]:
    ids = {topic: of.bronze(topic)["topic_id"].unique().item() for topic in of.domain.topics}
    return [shop.Log(topic, log_id) for topic, log_id in ids.items()]


def accounts(of: Shop) -> dict[str, Counter[str]]:
    """What all commits of each silver table say of themselves, added up; ranges follow each other without a gap."""
    found: dict[str, Counter[str]] = {}
    for spec in (item for item in of.specs() if item.layer == "silver"):
        sums, reached = Counter[str](), dict[str, int]()
        for info in reversed(list(commit_infos(Lake(of.root), spec))):
            for name, account in json.loads(info.get("accounting", "{}")).items():
                assert account.pop("start") == reached.get(name, 0)
                reached[name] = account.pop("end")
                sums.update(account)
        assert sums["kept"] == of.rows(spec).height
        found[spec.title] = sums
    return found


def test_killed_before_and_after_every_effect_on_a_table(world: World, tmp_path: Path) -> None:
    """Each process dies at the first effect it comes to: one before it, the next right after it."""
    lake, deaths = tmp_path / "lake", 0
    while (code := world.run(lake, AFTER if deaths % 2 else BEFORE)) == -signal.SIGKILL:
        deaths += 1
        assert deaths < 200
    assert code == 0
    # Tables: 2 bronze, quarantine, 3 silver, 2 gold, a reference; each is made, and committed to at least once.
    assert deaths >= 2 * (9 + 14)
    world.is_exact(lake)


@pytest.mark.parametrize("seed", range(LAKES))
def test_killed_at_random_moments(world: World, tmp_path: Path, seed: int) -> None:
    kill_at_random(world, tmp_path / "lake", seed, deaths=5)


def kill_at_random(world: World, lake: Path, seed: int, deaths: int) -> None:
    chance, codes = random.Random(seed), []
    for _ in range(deaths):
        process = world.start(lake)
        process.join(timeout=chance.uniform(0.02, 0.7))
        process.kill()
        process.join()
        codes.append(process.exitcode)
    assert set(codes) <= {0, -signal.SIGKILL}
    assert -signal.SIGKILL in codes
    assert world.run(lake) == 0
    world.is_exact(lake)


def test_two_bursts_at_once(world: World, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    barrier = world.processes.Barrier(2)
    both = [world.start(lake, barrier=barrier) for _ in range(2)]
    for process in both:
        process.join(timeout=60)
    assert [process.exitcode for process in both] == [0, 0]
    assert world.run(lake) == 0  # a mart that lost the race is brought up to date
    world.is_exact(lake)


def test_killed_while_rows_are_filled(world: World, tmp_path: Path) -> None:
    """A table that stands gets an enrichment; whoever fills it dies at every effect on a table."""
    lake, deaths = tmp_path / "lake", 0
    assert world.run(lake) == 0
    of = replace(world.shop(lake), domain=READS_TITLES)
    while True:
        code = world.run(lake, AFTER if deaths % 2 else BEFORE, domain=READS_TITLES)
        if code == 0 and fill(Sources(of.lake, READS_TITLES), max_rows=BATCH_ROWS, now=datetime.now(UTC)) is None:
            break
        deaths += code == -signal.SIGKILL
        assert deaths < 100
    assert deaths > 4
    whole = Shop(tmp_path / "whole", world.undisturbed.values, READS_TITLES)
    load(whole)
    whole.take_all()
    found, expected = facts(of), facts(whole)
    for title in ("silver.order_placed", "gold.sales_daily", "gold.sales_hourly", "gold.days_of_hours"):
        assert shop.ordered(found[title].select(expected[title].columns)).equals(expected[title]), title
    once_each = of.silver("order_placed")["idempotency_key"]
    assert not once_each.is_duplicated().any()
