import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform import bronze
from analytics_platform.errors import BronzeIncomplete
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.lake.commit import Change, commit
from analytics_platform.rebuild import rebuild
from analytics_platform.refetch import refetch
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, VISITS, feed
from analytics_platform_tests.test_stream import START, Burst

HOURS = (START, START + timedelta(hours=1))
LAYERS = frozenset({"bronze", "silver", "gold"})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, embedded: str) -> Burst:
    """The feed, read in several micro-batches within one hour; once, and copied for each test."""
    of = Burst(tmp_path_factory.mktemp("refetch") / "lake", embedded, batch_rows=15)
    of.send(feed(41, 60, partitions=2))
    of.follow(clock=ticking())
    return of


@pytest.fixture
def taken(tmp_path: Path, template: Burst) -> Burst:
    """A lake of its own; what the broker holds is shared and stays as it is."""
    shutil.copytree(template.root, tmp_path / "lake")
    return replace(template, root=tmp_path / "lake")


def ticking() -> Callable[[], datetime]:
    """Ten milliseconds pass between two looks."""
    now = [START]

    def clock() -> datetime:
        now[0] += timedelta(milliseconds=10)
        return now[0]

    return clock


def damage(of: Burst, change: Callable[[pl.DataFrame], pl.DataFrame], topic: str = ORDERS) -> None:
    spec = bronze.spec(of.prefix + topic)
    rows = of.shop().rows(spec)
    commit(of.shop().lake, spec, lambda _t, _l: Change(change(rows), replaces_all=True))


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows.clear(), lambda rows: rows.gather_every(3), lambda rows: rows.filter(pl.col("offset") > 5)],
    ids=["all gone", "some gone", "the first gone"],
)
def test_deleted_records_are_fetched_again_under_their_first_instant(
    taken: Burst, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    before = taken.shop().exact()
    damage(taken, change)
    missing = before[f"bronze.{bronze.spec(taken.orders).name}"].height - taken.shop().bronze(taken.orders).height
    assert missing > 0
    assert refetch(taken.shop().lake, taken.orders, taken.settings, HOURS) == missing
    assert shop.same(taken.shop().exact(), before)
    assert refetch(taken.shop().lake, taken.orders, taken.settings, HOURS) == 0


def test_nothing_is_missing(taken: Burst) -> None:
    versions = taken.shop().versions()
    assert refetch(taken.shop().lake, taken.orders, taken.settings, HOURS) == 0
    assert taken.shop().versions() == versions


def test_other_hours_are_left_as_they_are(taken: Burst) -> None:
    damage(taken, lambda rows: rows.clear())
    later = (HOURS[1], HOURS[1] + timedelta(hours=1))
    assert refetch(taken.shop().lake, taken.orders, taken.settings, later) == 0


def test_a_rebuild_of_bronze_mends_all_layers(taken: Burst) -> None:
    before = taken.shop().exact()
    damage(taken, lambda rows: rows.gather_every(2))
    rebuild(taken.domain, taken.settings, *HOURS, clock=ticking())  # silver follows the damage
    assert taken.shop().silver("order_placed").height < before["silver.order_placed"].height
    report = rebuild(taken.domain, taken.settings, *HOURS, layers=LAYERS, clock=ticking())
    assert report.added[bronze.spec(taken.orders).title] > 0
    after = taken.shop().exact()
    for tables in (before, after):
        tables["quarantine.shop"] = tables["quarantine.shop"].drop("status_at")
    assert shop.same(after, before)


def test_kafka_cannot_give_back_what_expired(tmp_path: Path, embedded: str) -> None:
    of = Burst(tmp_path / "lake", embedded)
    big = [shop.order(order_id=f"big{n}", trace_id="x" * 200_000) for n in range(40)]
    of.send({ORDERS: {0: [shop.order()]}, VISITS: {}})
    of.follow(clock=ticking())
    of.send({ORDERS: {0: big}})
    damage(of, lambda rows: rows.clear())
    before = of.shop().versions()
    with pytest.raises(BronzeIncomplete) as caught:
        refetch(of.shop().lake, of.orders, of.settings, HOURS)
    assert "expired" in str(caught.value)
    assert of.shop().versions() == before


def test_records_of_a_topic_that_was_made_again(taken: Burst) -> None:
    damage(taken, lambda rows: rows.clear())
    with EmbeddedBroker() as other:
        elsewhere = replace(taken, servers=other.bootstrap_servers, sent={})
        elsewhere.send({ORDERS: {0: [shop.order()]}})
        with pytest.raises(BronzeIncomplete, match="made again"):
            refetch(taken.shop().lake, taken.orders, elsewhere.settings, HOURS)


def test_no_broker(taken: Burst) -> None:
    damage(taken, lambda rows: rows.clear())
    kafka = replace(taken.settings.kafka, bootstrap_servers="127.0.0.1:1", timeout=timedelta(milliseconds=300))
    with pytest.raises(BronzeIncomplete):
        refetch(taken.shop().lake, taken.orders, replace(taken.settings, kafka=kafka), HOURS)


def test_a_table_that_is_not_there(tmp_path: Path, embedded: str) -> None:
    of = Burst(tmp_path / "lake", embedded)
    assert refetch(of.shop().lake, of.orders, of.settings, (datetime(2026, 1, 1, tzinfo=UTC), HOURS[1])) == 0
