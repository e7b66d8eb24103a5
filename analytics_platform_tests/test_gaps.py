from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from analytics_platform import gaps
from analytics_platform.gaps import Gap
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, VISITS, order, view
from analytics_platform_tests.test_stream import START, Burst, raw_only


@pytest.fixture
def expired(tmp_path: Path, embedded: str) -> Burst:
    """Two orders were read; then so much came that the broker forgot some of it unread (it keeps 5 MB)."""
    of = Burst(tmp_path / "lake", embedded)
    of.send({ORDERS: {0: [order(order_id="a"), order(order_id="b")]}, VISITS: {}})
    of.follow()
    of.send(
        {ORDERS: {0: [order(order_id=f"big{n}", trace_id="x" * 200_000) for n in range(40)], 1: [order(order_id="c")]}}
    )
    of.send({VISITS: {0: [view()]}})
    return of


def low(of: Burst) -> int:
    (found,) = gaps.find(of.orders, of.settings)
    assert (found.partition, found.start) == (0, 2)
    return found.end


def test_expired_offsets_stop_their_topic_and_others_go_on(expired: Burst) -> None:
    report = expired.follow()
    assert list(report.stopped) == [expired.orders]
    assert f"gaps accept {expired.orders}" in report.stopped[expired.orders]
    assert expired.shop().silver("page_viewed").height == 1
    assert expired.shop().silver("order_placed").height == 2


def test_an_accepted_gap_is_recorded_and_the_topic_goes_on(expired: Burst) -> None:
    end = low(expired)
    assert 2 < end < 42
    expected = [Gap(expired.orders, 0, 2, end, START)]
    assert gaps.accept(expired.domain, expired.orders, expired.settings, clock=lambda: START) == expected
    assert gaps.find(expired.orders, expired.settings) == []
    report = expired.follow()
    assert (report.stopped, report.total.read) == ({}, 42 - end + 2)
    assert sorted(expired.shop().silver("order_placed")["order_id"]) == sorted(
        ["a", "b", "c", *(f"big{n}" for n in range(end - 2, 40))]
    )
    assert gaps.accepted(expired.domain, expired.settings) == expected
    shop.once(expired.shop())


def test_nothing_to_accept(expired: Burst) -> None:
    assert gaps.accept(expired.domain, expired.visits, expired.settings, clock=lambda: START) == []
    assert gaps.accepted(expired.domain, expired.settings) == []


def test_accepted_twice_is_recorded_once(expired: Burst) -> None:
    for _ in range(2):
        gaps.accept(expired.domain, expired.orders, expired.settings, clock=lambda: START)
    assert len(gaps.accepted(expired.domain, expired.settings)) == 1


# --- a topic that was made again ----------------------------------------------------------------------------------------


def test_a_topic_made_again_stops_until_it_is_accepted(tmp_path: Path, embedded: str) -> None:
    """What of the old one had not reached silver and gold does so first; the new one starts at its beginning."""
    of = Burst(tmp_path / "lake", embedded)
    of.send({ORDERS: {0: [order(order_id="a")]}, VISITS: {0: [view()]}})
    of.follow()
    june = "2024-06-01T10:00:00Z"  # in windows of its own, which the new log does not touch
    of.send({ORDERS: {0: [order(order_id="b", placed_at=june, occurred_at=june)]}})
    raw_only(of)
    with EmbeddedBroker() as other:
        new = replace(of, servers=other.bootstrap_servers, sent={})
        new.send({ORDERS: {0: [order(order_id="c"), order(order_id="a")]}, VISITS: {}})
        report = new.follow()
        assert sorted(report.stopped) == [new.orders, new.visits]
        assert "made again" in report.stopped[new.orders]
        assert gaps.find(new.orders, new.settings) == []
        for topic in (new.orders, new.visits):
            assert gaps.accept(new.domain, topic, new.settings, clock=lambda: START) == []
        assert new.follow().stopped == {}
        assert sorted(new.shop().silver("order_placed")["order_id"]) == ["a", "b", "c"]
        assert new.shop().gold("sales_daily")["orders"].sum() == 3
        assert new.follow().total.read == 0
    ids = new.shop().bronze(new.orders)["topic_id"].n_unique()
    assert ids == 2
    shop.once(new.shop())


def test_the_new_log_expired_before_it_was_accepted(tmp_path: Path, embedded: str) -> None:
    of = Burst(tmp_path / "lake", embedded)
    of.send({ORDERS: {0: [order(order_id="a")]}, VISITS: {}})
    of.follow()
    with EmbeddedBroker() as other:
        new = replace(of, servers=other.bootstrap_servers, sent={})
        new.send({ORDERS: {0: [order(order_id=f"big{n}", trace_id="x" * 200_000) for n in range(40)]}, VISITS: {}})
        gaps.accept(new.domain, new.orders, new.settings, clock=lambda: START)
        (gap,) = gaps.accepted(new.domain, new.settings)
        assert (gap.partition, gap.start) == (0, 0)
        report = new.follow()
        assert report.total.read == 40 - gap.end
        rows = new.shop().bronze(new.orders).filter(pl.col("gap_end").is_not_null())
        assert rows.select("offset", "gap_end").rows() == [(0, gap.end)]
