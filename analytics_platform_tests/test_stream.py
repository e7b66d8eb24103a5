import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from analytics_platform import bronze, gaps, gold, silver
from analytics_platform.contract.model import Domain, Field, LogicalType
from analytics_platform.contract.newer import Sight, together
from analytics_platform.errors import BrokerUnavailable, OffsetGap
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.produce import Record, Sender, create_topic, send
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lookup_settings import LookupSettings
from analytics_platform.report import Account, BatchReport, BurstReport
from analytics_platform.settings import KafkaSettings, Secret, Settings
from analytics_platform.stream import follow, plan_domain
from analytics_platform_tests import prices, shop
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, feed, order, view
from analytics_platform_tests.test_enrich import ITEM
from analytics_platform_tests.test_enrich_remote import RATE
from analytics_platform_tests.test_fill import TITLES

NOTHING = timedelta(0)


@dataclass
class Burst:
    """A shop of its own on a broker that others use too."""

    root: Path
    servers: str
    prefix: str = field(default_factory=lambda: uuid4().hex[:8] + ".")
    of: Domain = field(default_factory=shop.domain)
    batch_rows: int = 1000
    keys: tuple[tuple[str, Secret], ...] = ()
    sent: dict[str, dict[int, list[bytes | None]]] = field(default_factory=dict)

    @property
    def orders(self) -> str:
        return self.prefix + ORDERS

    @property
    def visits(self) -> str:
        return self.prefix + VISITS

    @property
    def domain(self) -> Domain:
        return shop.renamed(self.of, self.prefix)

    @property
    def settings(self) -> Settings:
        kafka = KafkaSettings(bootstrap_servers=self.servers, timeout=timedelta(seconds=5))
        return Settings(
            lake=self.root,
            fsync=False,
            batch_rows=self.batch_rows,
            batch_interval=NOTHING,
            kafka=kafka,
            keys=self.keys,
        )

    def send(self, values: Mapping[str, Mapping[int, Sequence[bytes | None]]]) -> None:
        sender = Sender(self.settings.kafka)  # one for all: the first record of each waits for half a second
        for name, parts in values.items():
            topic = self.prefix + name
            create_topic(self.settings.kafka, topic)
            sender.know(topic)
            for partition, items in parts.items():
                self.sent.setdefault(topic, {}).setdefault(partition, []).extend(items)
                for item in items:
                    sender.put(topic, Record(None, item, partition=partition))
        sender.flush()

    def follow(self, **rest: Any) -> BurstReport:
        """What is there now, unless told otherwise."""
        given = {"clock": lambda: datetime.now(UTC), "budget": NOTHING, "idle": NOTHING} | rest
        return follow(self.domain, self.settings, **given)

    def shop(self) -> Shop:
        """To look into the tables."""
        return Shop(self.root, self.sent, self.domain)


@pytest.fixture
def burst(tmp_path: Path, embedded: str) -> Burst:
    one = Burst(tmp_path / "lake", embedded)
    one.send({ORDERS: {}, VISITS: {}})
    return one


@pytest.fixture
def begun(burst: Burst) -> Burst:
    burst.send({ORDERS: {0: [order(order_id="first")]}, VISITS: {0: [view(visit="first")]}})
    burst.follow()
    return burst


def test_everything_there_is_in_several_batches(burst: Burst) -> None:
    burst.batch_rows = 20
    burst.send(feed(31, 80, partitions=4))
    lines: list[BatchReport] = []
    report = burst.follow(on_batch=lines.append)
    shop.once(burst.shop())
    assert (report.ended, report.stopped, report.broken) == ("planned", {}, {})
    assert report.total.read == 80
    assert report.total.adds_up
    assert report.batches == len(lines) > 4
    assert report.kept == {name: burst.shop().silver(name).height for name in report.kept}
    assert report.lag_after == {burst.orders: 0, burst.visits: 0}
    alone = Shop(burst.root.parent / "alone", feed(31, 80, partitions=4))
    alone.take_all()
    tables = {name: rows for name, rows in burst.shop().business().items() if name.startswith(("silver", "gold"))}
    assert shop.same(tables, {name: alone.business()[name] for name in tables})


def test_producers_ahead_of_the_contracts(begun: Burst) -> None:
    begun.batch_rows = 2
    ahead = [order(order_id=f"ahead {number}", schema_version="1.3.0", discount=1) for number in range(3)]
    begun.send({ORDERS: {0: [*ahead, order(order_id="not")]}})
    lines: list[BatchReport] = []
    seen = {Sight("order_placed", "1.0.0", "1.3.0", path): 3 for path in ("", "discount")}
    assert begun.follow(on_batch=lines.append).newer == seen == together(line.newer for line in lines)
    assert len(lines) > 1
    assert begun.follow().newer == {}


def test_producers_ahead_are_not_counted_again_for_a_type_contracted_later(burst: Burst) -> None:
    later, burst.of = burst.of, shop.domain(events=("order_placed", "page_viewed"))
    burst.send({ORDERS: {0: [order(order_id="ahead", schema_version="1.3.0", discount=1)]}})
    assert sum(burst.follow().newer.values()) == 2
    burst.of = later
    report = burst.follow()
    assert (report.batches, report.total.read, report.newer) == (1, 0, {})


def test_nothing_new(begun: Burst) -> None:
    versions = begun.shop().versions()
    report = begun.follow()
    assert (report.batches, report.total, report.marts) == (0, Account(0, 0, 0, 0), {})
    assert begun.shop().versions() == versions


def test_only_the_planned_ranges(begun: Burst) -> None:
    begun.send({ORDERS: {0: [order(order_id=f"o{n}") for n in range(5)], 1: [order(order_id="x")]}})
    report = begun.follow(planned={begun.orders: (OffsetRange(0, 1, 3),)})
    assert (report.total.read, report.ended) == (2, "planned")
    assert sorted(begun.shop().silver("order_placed")["_offset"]) == [0, 1, 2]


def test_a_plan_that_was_carried_out_before(begun: Burst) -> None:
    report = begun.follow(planned={begun.orders: (OffsetRange(0, 0, 1),)})
    assert (report.total.read, report.ended) == (0, "planned")


def test_a_plan_that_would_skip_offsets(begun: Burst) -> None:
    begun.send({ORDERS: {0: [order(order_id=f"o{n}") for n in range(5)]}})
    with pytest.raises(OffsetGap):
        begun.follow(planned={begun.orders: (OffsetRange(0, 3, 5),)})
    assert begun.shop().silver("order_placed").height == 1


def test_a_plan_beyond_the_end_of_the_log(begun: Burst) -> None:
    """As after a truncation between plan and run: what is there is read, and the burst ends."""
    begun.send({ORDERS: {0: [order(order_id="second")]}})
    rounds: list[int] = []

    def stop() -> bool:
        rounds.append(1)
        return len(rounds) > 20

    report = begun.follow(planned={begun.orders: (OffsetRange(0, 1, 100),)}, stop=stop)
    assert report.total.read == 1
    assert report.ended == "planned"


def clock_of(*instants: datetime) -> Callable[[], datetime]:
    """Each call is a minute later."""
    now = list(instants)

    def clock() -> datetime:
        now.append(now[-1] + timedelta(minutes=1))
        return now[-1]

    return clock


START = datetime(2026, 11, 23, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rest", "ended"),
    [
        ({"budget": timedelta(minutes=5), "idle": timedelta(hours=1)}, "budget"),
        ({"budget": timedelta(hours=1), "idle": timedelta(minutes=5)}, "idle"),
        ({"budget": timedelta(hours=1), "idle": timedelta(hours=1), "until": START + timedelta(minutes=9)}, "hour"),
        ({"budget": timedelta(hours=1), "idle": timedelta(hours=1), "stop": lambda: True}, "drain"),
    ],
    ids=["budget", "idle", "hour", "drain"],
)
def test_why_a_burst_ends(begun: Burst, rest: dict[str, Any], ended: str) -> None:
    assert begun.follow(clock=clock_of(START), **rest).ended == ended


def test_records_that_come_while_it_follows(begun: Burst) -> None:
    seen: list[str] = []

    def on_batch(report: BatchReport) -> None:
        seen.append(report.topic)
        if len(seen) == 1:
            begun.send({VISITS: {1: [view(visit="late")]}})

    begun.send({ORDERS: {0: [order(order_id="second")]}})
    begun.follow(on_batch=on_batch, budget=timedelta(seconds=20), idle=timedelta(seconds=1))
    assert seen == [begun.orders, begun.visits]
    assert begun.shop().silver("page_viewed").height == 2


# --- after a crash -----------------------------------------------------------------------------------------------------


def test_silver_that_was_left_behind_is_caught_up_and_gold_with_it(begun: Burst) -> None:
    """Nothing new in Kafka: what a crash left half done is finished all the same."""
    begun.send({ORDERS: {0: [order(order_id="second")]}})
    raw_only(begun)
    report = begun.follow()
    assert report.total == Account(read=1, kept=1, duplicate=0, quarantined=0)
    assert begun.shop().gold("sales_daily")["orders"].sum() == 2


def test_gold_that_was_left_behind_is_brought_up_to_date_without_news(begun: Burst) -> None:
    begun.send({ORDERS: {0: [order(order_id="second")]}})
    marts, begun.of = begun.of.marts, replace(begun.of, marts=())
    begun.follow()
    begun.of = replace(begun.of, marts=marts)
    assert begun.shop().gold("sales_daily")["orders"].sum() == 1
    report = begun.follow()
    assert report.batches == 0
    assert begun.shop().gold("sales_daily")["orders"].sum() == 2


def raw_only(of: Burst) -> None:
    """Commit what Kafka has to bronze, and no further."""
    with KafkaLog(of.settings) as log:
        state = log.state(of.orders)
        lake = of.shop().lake
        have = bronze.stored(lake, state)
        ranges = [OffsetRange(item, have.start(state, item), marks.end) for item, marks in state.partitions.items()]
        raw = log.read(of.orders, [item for item in ranges if item.start < item.end], max_bytes=2**30)
    part = shop.derive.Slice(state.log, tuple(raw.ranges), bronze.rows(raw.frame, state.log, bronze.instant(START)))
    commit(lake, bronze.spec(of.orders), lambda _t, _l: Change(part.records), part.moves)


# --- what is broken stays apart -----------------------------------------------------------------------------------------


def test_a_broken_mart_does_not_hold_up_the_others(begun: Burst) -> None:
    broken = tuple(
        replace(mart, sql="SELECT 1 AS x") if mart.name == "sales_daily" else mart for mart in begun.of.marts
    )
    begun.of = replace(begun.of, marts=broken)
    begun.send({ORDERS: {0: [order(order_id="second")]}})
    report = begun.follow()
    assert list(report.broken) == ["gold.sales_daily"]
    assert begun.shop().gold("sales_hourly")["placed"].sum() == 2
    assert begun.shop().gold("sales_daily")["orders"].sum() == 1


def test_a_mart_whose_column_changed_its_type_does_not_hold_up_the_others(begun: Burst) -> None:
    def changed(field: Field) -> Field:
        return replace(field, type=LogicalType.NUMBER) if field.name == "cents" else field

    marts = tuple(
        replace(mart, fields=tuple(map(changed, mart.fields))) if mart.name == "sales_daily" else mart
        for mart in begun.of.marts
    )
    begun.of = replace(begun.of, marts=marts)
    begun.send({ORDERS: {0: [order(order_id="second")]}})
    report = begun.follow()
    assert list(report.broken) == ["gold.sales_daily"]
    assert begun.shop().gold("sales_hourly")["placed"].sum() == 2


def test_a_topic_whose_table_has_other_types_does_not_hold_up_the_others(begun: Burst) -> None:
    def changed(field: Field) -> Field:
        return replace(field, type=LogicalType.NUMBER) if field.name == "cents" else field

    events = tuple(
        replace(item, fields=tuple(map(changed, item.fields))) if item.name == "order_placed" else item
        for item in begun.of.events
    )
    begun.of = replace(begun.of, events=events, marts=())
    begun.send({ORDERS: {0: [order(order_id="second")]}, VISITS: {0: [view(visit="second")]}})
    report = begun.follow()
    assert list(report.stopped) == [begun.orders]
    assert "cents is Int64, wanted Float64" in report.stopped[begun.orders]
    assert begun.shop().silver("page_viewed").height == 2


def test_a_refused_reference_does_not_hold_up_the_topics(begun: Burst) -> None:
    references = tuple(replace(item, file=Path("/nowhere/products.csv")) for item in begun.of.references)
    begun.of = replace(begun.of, references=references)
    begun.send({ORDERS: {0: [order(order_id="second")]}})
    report = begun.follow()
    assert list(report.broken) == ["reference.products"]
    assert begun.shop().gold("sales_daily")["title"].to_list() == ["Mug"]


def test_rows_that_came_before_their_reference_table_are_filled_between_micro_batches(burst: Burst) -> None:
    there = shop.domain(enrich=ITEM, daily=TITLES)
    away = tuple(replace(item, file=Path("/nowhere/products.csv")) for item in there.references)
    burst.of = replace(there, references=away)
    burst.send({ORDERS: {0: [order(order_id="first"), order(order_id="second", product="cup")]}})
    report = burst.follow()
    assert (report.missing, report.unknown, report.filled) == ({"order_placed.item": 2}, {}, {})
    burst.of = there
    burst.send({ORDERS: {0: [order(order_id="third")]}})
    marts: list[tuple[str, int]] = []
    report = burst.follow(on_mart=lambda done: marts.append((done.mart, done.windows)))
    assert (report.missing, report.unknown, report.filled) == (
        {},
        {"order_placed.item": 1},
        {"order_placed.item": 2},
    )
    assert sorted(marts) == [("sales_daily", 1), ("sales_hourly", 1)]
    found = burst.shop().gold("sales_daily").sort("product").select("product", "title", "orders").rows()
    assert found == [("cup", None, 1), ("mug", "Mug", 2)]
    assert burst.follow().filled == {}


def test_rows_are_enriched_by_a_service_and_filled_once_it_answers(burst: Burst) -> None:
    burst.of = shop.domain(enrich=RATE)
    burst.send({ORDERS: {0: [order(order_id="first"), order(order_id="second", product="cup")]}})
    report = burst.follow()
    assert report.missing == {"order_placed.rate": 2}
    asked = LookupSettings("prices", function="analytics_platform_tests.prices:euros")
    prices.KNOWN["mug"] = 8.5
    try:
        report = follow(
            burst.domain,
            replace(burst.settings, lookups=(asked,)),
            clock=lambda: datetime.now(UTC),
            budget=NOTHING,
            idle=NOTHING,
        )
    finally:
        prices.KNOWN.clear()
    assert (report.filled, report.unknown) == ({"order_placed.rate": 2}, {"order_placed.rate": 1})
    found = burst.shop().silver("order_placed").sort("order_id").select("order_id", "euros").rows()
    assert found == [("first", 8.5), ("second", None)]


def test_a_table_that_forgot_its_progress_stops_its_topic_only(begun: Burst) -> None:
    rows = begun.shop().silver("order_placed")
    spec = silver.spec(begun.of.versions_of("order_placed"))
    copied = Burst(begun.root.parent / "copied", begun.servers, begun.prefix)
    commit(copied.shop().lake, spec, lambda _t, _l: Change(rows))
    report = copied.follow()
    assert list(report.stopped) == [begun.orders]
    assert "docs/operations.md#lost-progress" in report.stopped[begun.orders]
    assert copied.shop().silver("page_viewed").height == 1


def test_no_broker(begun: Burst) -> None:
    begun.servers = "127.0.0.1:1"
    begun_settings = replace(begun.settings, kafka=replace(begun.settings.kafka, timeout=timedelta(milliseconds=300)))
    with pytest.raises(BrokerUnavailable):
        follow(begun.domain, begun_settings, clock=lambda: START, budget=NOTHING, idle=NOTHING)


# --- plans ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def log(burst: Burst) -> Iterator[KafkaLog]:
    with KafkaLog(burst.settings) as log:
        yield log


def test_a_plan_reads_nothing_and_writes_nothing(burst: Burst, log: KafkaLog) -> None:
    burst.send({ORDERS: {0: [order()], 2: [order()]}})
    found = plan_domain(burst.domain, burst.settings, log, now=START)
    assert [(item.topic, item.ranges) for item in found.plans] == [
        (burst.orders, (OffsetRange(0, 0, 1), OffsetRange(2, 0, 1)))
    ]
    assert (found.lag, found.stopped) == (2, {})
    assert not burst.root.exists()


def test_a_plan_starts_where_the_table_ends(begun: Burst, log: KafkaLog) -> None:
    begun.send({ORDERS: {0: [order(), order()]}})
    found = plan_domain(begun.domain, begun.settings, log, now=START)
    assert [item.ranges for item in found.plans] == [(OffsetRange(0, 1, 3),)]


def test_marts_are_told_of(burst: Burst) -> None:
    burst.send({ORDERS: {0: [order()]}})
    told: list[str] = []
    report = burst.follow(on_mart=lambda item: told.append(item.mart))
    assert set(told) == set(report.marts) == {"sales_daily", "sales_hourly"}
    assert report.marts["sales_daily"].rows == 1
    assert gold.spec(burst.of.marts[0]).title == "gold.sales_daily"


def test_a_backlog_larger_than_the_budget(begun: Burst) -> None:
    """Each batch holds one record and each look at the clock is a minute: the budget ends it, not the backlog."""
    begun.send({ORDERS: {0: [order(order_id=f"more-{number}") for number in range(30)]}})
    begun.batch_rows = 1
    report = begun.follow(budget=timedelta(minutes=20), idle=timedelta(days=1), clock=clock_of(START))
    assert report.ended == "budget"
    assert 0 < report.total.read < 30
    assert begun.follow().total.read == 30 - report.total.read


def test_a_topic_made_again_and_accepted_while_its_burst_is_at_work(tmp_path: Path, apache: str) -> None:
    """The goal was the old log's: nobody waits for it any more, and partitions that only the new one has are read."""
    of = Burst(tmp_path / "lake", apache, batch_rows=1)
    of.send({ORDERS: {0: [order(order_id=f"old-{number}") for number in range(5)]}, VISITS: {}})
    kafka = of.settings.kafka

    def switch(_report: BatchReport) -> None:
        if made:
            return
        made.append(of.orders)
        admin = AdminClient(kafka.client_config())
        admin.delete_topics([of.orders])[of.orders].result()
        deadline = time.monotonic() + 30
        while not create_topic(kafka, of.orders, partitions=6):
            assert time.monotonic() < deadline
        send(kafka, of.orders, [Record(None, order(order_id="new"), partition=5)])
        assert gaps.accept(of.domain, of.orders, of.settings, clock=lambda: datetime.now(UTC)) == []

    made: list[str] = []
    rounds: list[int] = []

    def stop() -> bool:
        rounds.append(1)
        return len(rounds) > 100

    assert of.follow(on_batch=switch, stop=stop).ended == "planned"
    assert of.follow().stopped == {}
    assert "new" in of.shop().silver("order_placed")["order_id"].to_list()
