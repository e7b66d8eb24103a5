import os
from pathlib import Path

import pytest

from analytics_platform import derive, quarantine
from analytics_platform.judge import judge
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.progress import progress
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, feed, log_of

FEED = feed(51, 60)


def test_nothing_in_bronze(tmp_path: Path) -> None:
    assert Shop(tmp_path / "lake", FEED).catch_up(ORDERS) == 0


def test_bronze_only(tmp_path: Path) -> None:
    """In slices of about a micro-batch, however large the batches were that bronze came in."""
    of = Shop(tmp_path / "lake", FEED, batch_rows=10)
    for topic in of.domain.topics:
        of.pour(topic, of.whole(topic))
    done = {topic: of.catch_up(topic) for topic in (ORDERS, VISITS)}
    sizes = {topic: sum(map(len, parts.values())) for topic, parts in FEED.items()}
    assert done == {topic: -(-size // 10) for topic, size in sizes.items()}
    of.refresh()
    shop.once(of)
    whole = Shop(tmp_path / "whole", FEED)
    whole.take_all()
    assert shop.same(of.business(), whole.business())


def test_tables_at_different_progress(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", FEED)
    ranges = [OffsetRange(item.partition, 0, 8) for item in of.whole(ORDERS)]
    of.take(ORDERS, ranges)
    part = of.pour(ORDERS, [OffsetRange(item.partition, 8, item.end) for item in of.whole(ORDERS)])
    judged = judge(part.records, of.domain.events_of(ORDERS))
    derive._take_good(of.lake, of.domain.versions_of("order_placed"), part, judged, judged.good)
    assert of.catch_up(ORDERS) == 1
    of.take(VISITS, of.whole(VISITS))
    shop.once(of)


def test_a_partition_without_records_is_known_from_then_on(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", {ORDERS: {0: [], 1: []}, VISITS: {}})
    of.pour(ORDERS, [OffsetRange(0, 7, 7), OffsetRange(1, 0, 0)])
    assert of.catch_up(ORDERS) == 1
    assert derive.targets(of.lake, of.domain, log_of(ORDERS), [0, 1]) == {0: 7, 1: 0}
    assert of.catch_up(ORDERS) == 0


def test_bronze_is_durable_before_anything_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever committed it may have died before it was forced to the disk."""
    Shop(tmp_path / "lake", FEED).pour(ORDERS, [OffsetRange(0, 0, 9)])
    forced: list[str] = []
    fsync = os.fsync

    def recorded(handle: int) -> None:
        forced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", recorded)
    durable = Shop(tmp_path / "lake", FEED, fsync=True)
    durable.lake.ensure(quarantine.spec("shop"))
    forced.clear()
    assert durable.catch_up(ORDERS) == 1
    entries = [path for path in forced if path.endswith(f"{1:020}.json")]
    assert [Path(path).parts[-4] for path in entries] == ["bronze", "quarantine", "silver", "silver"]


def test_a_log_that_began_later_than_0(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", FEED)
    of.pour(ORDERS, [OffsetRange(0, 5, 12), OffsetRange(1, 9, 9)])
    assert of.catch_up(ORDERS) == 1
    table = of.lake.newest(quarantine.spec("shop"))
    have = progress(table, "quarantine.shop", quarantine.COORDINATES, log_of(ORDERS), [0, 1])
    assert have == {0: 12, 1: 9}
