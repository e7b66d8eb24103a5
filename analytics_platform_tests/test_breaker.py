"""The circuit breaker: one event type waits in bronze, everything else goes on, and nothing is lost or doubled."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from analytics_platform import breaker, derive, silver
from analytics_platform.contract.model import Breaker, Domain
from analytics_platform.defs.checks import burst_checks, check_specs
from analytics_platform.defs.config import Range, ranges_by_topic
from analytics_platform.defs.sensors import Ask, Cursor, Wait, decide
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.lake.commit import Change, commit
from analytics_platform.report import BurstReport
from analytics_platform.resume import resume
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.stream import follow, plan_domain
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, START, VISITS, Shop, order, view

HALTS = "{maxBadRatio: 0.5, onExceed: halt, window: 10m, minRows: 4}"
STRICT = shop.domain(most_cents=1_000, breaker=HALTS)
LAX = shop.domain(breaker=HALTS)
AUTO = shop.domain(most_cents=1_000, breaker=HALTS.replace("minRows", "resume: auto, minRows"))
PLACED = silver.spec(STRICT.versions_of("order_placed"))


def placed(number: int, cents: int = 10) -> bytes:
    return order(order_id=f"o{number}", cents=cents)


def cancelled(number: int) -> bytes:
    return order("order_cancelled", order_id=f"o{number}")


@dataclass
class Stream:
    """A shop on a broker that others use too; its clock moves when told."""

    root: Path
    servers: str
    of: Domain = STRICT
    prefix: str = field(default_factory=lambda: uuid4().hex[:8] + ".")
    now: datetime = START
    sent: dict[str, dict[int, list[bytes | None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for topic in (ORDERS, VISITS):
            create_topic(self.settings.kafka, self.prefix + topic)
            self.sent[self.prefix + topic] = {partition: [] for partition in range(4)}

    @property
    def domain(self) -> Domain:
        return shop.renamed(self.of, self.prefix)

    @property
    def settings(self) -> Settings:
        kafka = KafkaSettings(bootstrap_servers=self.servers, timeout=timedelta(seconds=5))
        return Settings(lake=self.root, fsync=False, batch_interval=timedelta(0), kafka=kafka)

    def take(self, *values: bytes, topic: str = ORDERS) -> BurstReport:
        """Send some records and let a burst take them in, a second later."""
        name = self.prefix + topic
        self.sent[name][0] += values
        send(self.settings.kafka, name, [Record(None, item, partition=0) for item in values])
        self.now += timedelta(seconds=1)
        return self.burst()

    def burst(self) -> BurstReport:
        return follow(self.domain, self.settings, clock=lambda: self.now, budget=timedelta(0), idle=timedelta(0))

    def shop(self) -> Shop:
        return Shop(self.root, self.sent, self.domain, now=self.now)

    def offsets(self, event: str = "order_placed") -> list[int]:
        return sorted(self.shop().silver(event)["_offset"])

    def states(self) -> list[tuple[int, str]]:
        return self.shop().quarantine().sort("offset").select("offset", "status").rows()


@pytest.fixture
def stream(tmp_path: Path, embedded: str) -> Stream:
    return Stream(tmp_path / "lake", embedded)


SENTENCE = (
    "order_placed is halted since 2026-11-23 10:00:01 UTC: 3 of 4 records were bad, allowed are 50.00%. Its records wait "
    "in bronze; mend the cause, then `analytics-platform quarantine resume order_placed`"
)


def broken(stream: Stream) -> BurstReport:
    """A producer that sends too many bad orders; the burst that sees it halts the type after its micro-batch."""
    return stream.take(placed(0), placed(1, 5_000), placed(2, 5_000), placed(3, 5_000), cancelled(4))


def asked(stream: Stream) -> Ask | Wait:
    """What the sensor decides now."""
    with KafkaLog(stream.settings) as log:
        return decide("shop", plan_domain(stream.domain, stream.settings, log, now=stream.now), Cursor(), stream.now)


def asked_for(stream: Stream) -> BurstReport:
    """The burst that the sensor asks for, although the topics have nothing new."""
    decision = asked(stream)
    assert isinstance(decision, Ask)
    assert decision.line.startswith("lag 0; nothing new, but bronze has what silver has not; asking for a burst")
    ranges = ranges_by_topic([Range.model_validate(item) for item in decision.ranges])
    return follow(
        stream.domain,
        stream.settings,
        clock=lambda: stream.now,
        planned=ranges,
        budget=timedelta(0),
        idle=timedelta(0),
    )


def test_a_broken_producer_halts_its_type_alone(stream: Stream) -> None:
    assert broken(stream).halted == {"order_placed": SENTENCE}

    report = stream.take(placed(5), placed(6, 5_000), cancelled(7))

    assert report.halted == {"order_placed": SENTENCE}
    assert (stream.offsets(), stream.offsets("order_cancelled")) == ([0], [4, 7])
    assert stream.states() == [(1, "new"), (2, "new"), (3, "new"), (6, "new")]
    # Counted is what was placed; what waits is counted when it is taken in.
    assert (report.total.read, report.total.kept, report.total.quarantined) == (2, 1, 1)
    assert report.lag_after == {stream.prefix + ORDERS: 0}
    assert report.newest_occurred_at.keys() == {"order_cancelled"}
    assert stream.take(view(), topic=VISITS).kept["page_viewed"] == 1
    assert asked(stream) == Wait(f"lag 0; nothing new; {SENTENCE}")


def test_resumed_it_takes_in_what_waited_and_equals_a_shop_without_a_breaker(stream: Stream, tmp_path: Path) -> None:
    broken(stream)
    stream.take(placed(5), placed(6, 5_000), cancelled(7), placed(0))
    stream.take(b"{", placed(8))

    assert resume(stream.domain, stream.settings, "order_placed", clock=lambda: stream.now)

    assert not resume(stream.domain, stream.settings, "order_placed", clock=lambda: stream.now)
    report = stream.take(placed(9))
    assert (report.halted, report.kept["order_placed"]) == ({}, 1)
    shop.once(stream.shop())
    assert stream.offsets() == [0, 5, 10, 11]
    calm = Shop(tmp_path / "calm", stream.sent, shop.renamed(shop.domain(most_cents=1_000), stream.prefix))
    calm.take_all()
    found, expected = stream.shop().business(), calm.business()
    for tables in (found, expected):  # the contracts differ by the breaker, and so do their digests
        tables["quarantine.shop"] = tables["quarantine.shop"].drop("contract_digest")
    found.pop("gold.sales_daily"), expected.pop("gold.sales_daily")  # no reference table was loaded by hand
    assert shop.same(found, expected)


def test_contracts_mended_while_it_waits(stream: Stream) -> None:
    """What was quarantined and waits is judged again: it leaves the quarantine; what silver has decided stays."""
    broken(stream)
    stream.take(placed(5, 5_000), placed(6))
    stream.of = LAX
    resume(stream.domain, stream.settings, "order_placed", clock=lambda: stream.now)
    assert stream.offsets() == [0, 5, 6]
    assert stream.states() == [(1, "new"), (2, "new"), (3, "new"), (5, "replayed")]
    assert stream.burst().halted == {}


class Died(BaseException):
    """As a killed process would: nothing catches it."""


def test_what_a_dead_burst_left_in_bronze_is_asked_for(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when no record comes any more; while a type is halted, what waits for it is nothing to ask for."""
    broken(stream)

    def deadly(*_rest: Any, **_named: Any) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(derive, "take_in", deadly)
        with pytest.raises(Died):
            stream.take(placed(5), cancelled(6))
    assert stream.offsets("order_cancelled") == [4]
    asked_for(stream)
    assert (stream.offsets(), stream.offsets("order_cancelled")) == ([0], [4, 6])
    assert isinstance(asked(stream), Wait)


def test_a_burst_that_died_while_it_was_halted(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once after bronze, once after the quarantine."""
    broken(stream)
    for number, step in ((5, "take_in"), (7, "_take_good")):

        def deadly(*_rest: Any, **_named: Any) -> None:
            raise Died

        with monkeypatch.context() as patched:
            patched.setattr(derive, step, deadly)
            with pytest.raises(Died):
                stream.take(placed(number), placed(number + 1, 5_000), cancelled(number))
    report = stream.burst()
    assert report.halted == {"order_placed": SENTENCE}
    assert (stream.offsets(), stream.offsets("order_cancelled")) == ([0], [4, 7, 10])
    assert [state[0] for state in stream.states()] == [1, 2, 3, 6, 9]
    resume(stream.domain, stream.settings, "order_placed", clock=lambda: stream.now)
    assert stream.offsets() == [0, 5, 8]
    shop.once(stream.shop())


def test_it_resumes_by_itself_after_a_window(stream: Stream) -> None:
    stream.of = AUTO
    broken(stream)
    stream.now += timedelta(minutes=9)
    report = stream.take(placed(5))
    assert "it resumes by itself at 2026-11-23 10:10:01 UTC" in report.halted["order_placed"]
    stream.now += timedelta(minutes=1)
    assert stream.take(placed(6)).halted == {}
    assert stream.offsets() == [0, 5, 6]
    again = stream.take(*[placed(n, 5_000) for n in range(10, 14)])
    assert "4 of 5 records were bad" in again.halted["order_placed"]


def test_it_resumes_by_itself_when_nothing_new_comes(stream: Stream) -> None:
    """The producer went quiet: a burst is asked for when the window is over, and for nothing before or after."""
    stream.of = AUTO
    broken(stream)
    stream.take(placed(5))
    assert stream.offsets() == [0]
    stream.now += timedelta(minutes=9, seconds=58)
    assert isinstance(asked(stream), Wait)
    stream.now += timedelta(seconds=1)
    report = asked_for(stream)
    assert (report.ended, report.halted, report.total.kept) == ("planned", {}, 1)
    assert stream.offsets() == [0, 5]
    assert isinstance(asked(stream), Wait)


def test_a_contract_that_is_mended_to_halt_nothing_needs_no_news_either(stream: Stream) -> None:
    broken(stream)
    stream.take(placed(5))
    assert isinstance(asked(stream), Wait)
    stream.of = shop.domain(most_cents=1_000)
    asked_for(stream)
    assert stream.offsets() == [0, 5]
    assert isinstance(asked(stream), Wait)


def test_a_contract_that_halts_nothing_any_more(stream: Stream) -> None:
    broken(stream)
    stream.take(placed(5))
    stream.of = shop.domain(most_cents=1_000)
    assert stream.burst().halted == {}
    assert stream.offsets() == [0, 5]


# --- when it trips --------------------------------------------------------------------------------------------------------


def tripped(root: Path, *values: bytes, gap: timedelta = timedelta(0), of: Domain = STRICT) -> breaker.Halt | None:
    """After each record by itself, the last one `gap` later."""
    found = Shop(root / "lake", {ORDERS: {0: list(values)}, VISITS: {}}, of)
    for offset in range(len(values)):
        found.now += gap if offset == len(values) - 1 else timedelta(0)
        found.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
    return breaker.trip(found.lake, found.domain, "order_placed", found.now)


def test_too_few_records_are_no_reason(tmp_path: Path) -> None:
    assert tripped(tmp_path, *[placed(n, 5_000) for n in range(3)]) is None


def test_exactly_the_share_is_allowed(tmp_path: Path) -> None:
    assert tripped(tmp_path, placed(0), placed(1), placed(2, 5_000), placed(3, 5_000)) is None


def test_one_more_is_not(tmp_path: Path) -> None:
    halt = tripped(tmp_path, placed(0), placed(1), *[placed(n, 5_000) for n in (2, 3, 4)])
    assert halt is not None
    assert (halt.bad, halt.seen) == (3, 5)
    assert halt.breaker == Breaker(0.5, timedelta(minutes=10), 4, resumes=False)


def test_what_came_before_the_window_does_not_count(tmp_path: Path) -> None:
    assert tripped(tmp_path, *[placed(n, 5_000) for n in range(5)], gap=timedelta(minutes=11)) is None


def test_a_contract_that_only_warns(tmp_path: Path) -> None:
    of = shop.domain(most_cents=1_000, breaker="{maxBadRatio: 0.5, onExceed: warn}")
    assert tripped(tmp_path, *[placed(n, 5_000) for n in range(9)], of=of) is None


def test_only_one_of_two_trips_and_files_of_before_the_window_are_counted_by_row(tmp_path: Path) -> None:
    of = Shop(
        tmp_path / "lake", {ORDERS: {0: [placed(n, 10 if n < 2 else 5_000) for n in range(8)]}, VISITS: {}}, STRICT
    )
    for offset in range(8):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
    rows = of.silver("order_placed")
    commit(of.lake, PLACED, lambda _t, _l: Change(rows, replaces_all=True))  # as a compaction would leave them
    late = START + timedelta(minutes=10, seconds=2)
    first = breaker.trip(of.lake, of.domain, "order_placed", late)
    assert first is not None
    assert (first.bad, first.seen) == (6, 7)
    assert breaker.trip(of.lake, of.domain, "order_placed", late) is None
    assert breaker.halts(of.lake, of.domain) == {"order_placed": first}


def test_the_check_says_why() -> None:
    specs = [spec.key.to_user_string() for spec in check_specs(STRICT) if spec.name == "flowing"]
    assert specs == ["silver/order_placed:flowing"]
    names = "accounts kept duplicate reasons marts lag_before lag_after stopped broken seconds newest_occurred_at"
    given: dict[str, Any] = {name: {} for name in names.split()}
    for halted, passed in (({}, True), ({"order_placed": SENTENCE}, False)):
        report = BurstReport("shop", 0, **given, ended="idle", halted=halted)
        (answer,) = [item for item in burst_checks(STRICT, report, datetime.now(UTC)) if item.check_name == "flowing"]
        assert (answer.passed, answer.description) == (passed, SENTENCE if halted else "not halted")
