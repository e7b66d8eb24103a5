import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from analytics_platform.defs import sensors
from analytics_platform.defs.sensors import Ask, Cursor, Wait, at_work, decide
from analytics_platform.demo.events import Event
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.kafka.offsets import OffsetRange, TopicPlan
from analytics_platform.report import BuildReport
from analytics_platform.stream import DomainPlan
from analytics_platform_tests.defs.conftest import Platform, produce

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
STOPPED = "flights.weather[3]: offsets 120..340 expired before they were read."


def plan(*topics: TopicPlan, **stopped: str) -> DomainPlan:
    return DomainPlan(topics, stopped)


def departures(*ranges: tuple[int, int, int], lag: int) -> TopicPlan:
    return TopicPlan("flights.departures", tuple(OffsetRange(*item) for item in ranges), lag)


def asked_again(plan_now: DomainPlan, times: int, now: datetime) -> Ask | Wait:
    """What is decided after the same plan has been asked for so often, without effect."""
    first = decide("flights", plan_now, Cursor(), NOW)
    assert isinstance(first, Ask)
    return decide("flights", plan_now, Cursor(first.cursor.plan, times, NOW), now)


def test_nothing_new():
    assert decide("flights", plan(), Cursor(), NOW) == Wait("lag 0; nothing new", new_data_may_help=True)


def test_a_stopped_topic_is_named_while_nothing_is_new():
    decision = decide("flights", plan(weather=STOPPED), Cursor(), NOW)

    assert decision == Wait(f"lag 0; nothing new; stopped: {STOPPED}")


def test_a_mart_is_to_be_built_while_nothing_is_new():
    half = BuildReport("carrier_daily", 500, 1000, NOW)
    decision = decide("flights", replace(plan(), building=(half,)), Cursor(), NOW)

    assert isinstance(decision, Ask)
    assert decision.ranges == ()
    assert (
        decision.line == "lag 0; nothing new, but gold.carrier_daily to be built from all history; asking for a burst"
    )


def test_a_mart_that_comes_no_further_is_asked_for_ever_less_often():
    half = replace(plan(), building=(BuildReport("carrier_daily", 500, 1000, NOW),))
    more = replace(plan(), building=(BuildReport("carrier_daily", 501, 1000, NOW),))
    first = decide("flights", half, Cursor(), NOW)

    assert isinstance(first, Ask)
    assert isinstance(decide("flights", half, first.cursor, NOW), Wait)
    assert isinstance(decide("flights", more, first.cursor, NOW), Ask)


def test_data_in_several_topics():
    arrivals = TopicPlan("flights.arrivals", (OffsetRange(0, 5, 305),), 300)

    decision = decide("flights", plan(arrivals, departures((0, 0, 10_000), (2, 7, 9), lag=12_000)), Cursor(), NOW)

    assert isinstance(decision, Ask)
    assert decision.line == "lag 12,300 in 2 topics; asking for 10,302"
    assert decision.ranges == (
        {"topic": "flights.arrivals", "partition": 0, "start": 5, "end": 305},
        {"topic": "flights.departures", "partition": 0, "start": 0, "end": 10_000},
        {"topic": "flights.departures", "partition": 2, "start": 7, "end": 9},
    )
    assert decision.cursor.attempt == 1
    assert decision.run_key.startswith("flights/2026-11-23-14:00/")
    assert decision.run_key.endswith("/1")


def test_a_stopped_topic_does_not_hold_up_the_others():
    decision = decide("flights", plan(departures((0, 0, 4), lag=4), weather=STOPPED), Cursor(), NOW)

    assert isinstance(decision, Ask)
    assert decision.line == f"lag 4 in 1 topic; asking for 4; stopped: {STOPPED}"


def test_the_same_plan_after_its_run_failed_gets_another_run_key():
    same = plan(departures((0, 0, 4), lag=4))
    first = decide("flights", same, Cursor(), NOW)
    second = asked_again(same, 1, NOW + timedelta(seconds=5))

    assert isinstance(first, Ask)
    assert isinstance(second, Ask)
    assert second.ranges == first.ranges
    assert second.run_key != first.run_key
    assert second.cursor.attempt == 2
    assert second.line == "lag 4 in 1 topic; asking for 4 (attempt 2)"


def test_a_longer_plan_from_the_same_start_still_counts_as_asked_in_vain():
    first = decide("flights", plan(departures((0, 0, 4), lag=4)), Cursor(), NOW)
    assert isinstance(first, Ask)
    second = decide("flights", plan(departures((0, 0, 9), lag=9)), first.cursor, NOW + timedelta(seconds=6))

    assert isinstance(second, Ask)
    assert second.cursor.attempt == 2


def test_progress_starts_the_count_again():
    first = decide("flights", plan(departures((0, 0, 4), lag=4)), Cursor(), NOW)
    assert isinstance(first, Ask)
    second = decide("flights", plan(departures((0, 4, 9), lag=5)), first.cursor, NOW)

    assert isinstance(second, Ask)
    assert second.cursor.attempt == 1


@pytest.mark.parametrize(("times", "seconds"), [(1, 5), (2, 10), (4, 40), (7, 300), (5_000, 300)])
def test_runs_that_keep_failing_are_asked_for_less_and_less_often(times: int, seconds: int):
    same = plan(departures((0, 0, 4), lag=4))
    early = asked_again(same, times, NOW + timedelta(seconds=seconds, microseconds=-1))
    due = asked_again(same, times, NOW + timedelta(seconds=seconds))

    assert isinstance(early, Wait)
    assert not early.new_data_may_help
    assert early.line.startswith(f"lag 4; asked for {times} times, but no run has taken it in")
    assert isinstance(due, Ask)


def test_the_cursor_survives_being_kept():
    cursor = Cursor("ab12", 3, NOW, "cd34")

    assert Cursor.parse(cursor.text()) == cursor
    assert Cursor.parse(Cursor().text()) == Cursor()


@pytest.mark.parametrize("text", [None, "", "{}", "[]", "null", "not JSON", '{"plan": "a", "attempt": "x", "at": "y"}'])
def test_a_cursor_that_is_not_ours_counts_as_none(text: str | None):
    assert Cursor.parse(text) == Cursor()


def test_a_burst_at_work():
    run = "3f2a0000-1111-2222-3333-444444444444"

    assert at_work(run, dg.DagsterRunStatus.STARTED, 400) == "burst 3f2a0000… is at work, lag 400"
    assert at_work(run, dg.DagsterRunStatus.QUEUED, None) == "burst 3f2a0000… is queued"


class Ticks:
    """Ticks of the sensor, one after the other, as the daemon makes them."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.cursor = platform, ""

    def tick(self):
        repository = self.platform.definitions.get_repository_def()
        with dg.build_sensor_context(self.platform.instance, cursor=self.cursor, repository_def=repository) as context:
            data = repository.get_sensor_def("flights_sensor").evaluate_tick(context)
        self.cursor = data.cursor or self.cursor
        return data


@pytest.fixture
def ticks(platform: Platform) -> Ticks:
    """After the first tick, which asks for the reference tables."""
    ticks = Ticks(platform)
    [request] = ticks.tick().run_requests
    assert request.job_name == "flights_reference"
    return ticks


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "LONGEST_WAIT_S", 0.0)


@pytest.mark.usefixtures("no_waiting")
def test_a_tick_asks_for_what_is_there(ticks: Ticks, some_flights: list[Event]):
    produce(ticks.platform.settings.kafka.bootstrap_servers, some_flights)

    data = ticks.tick()

    [request] = data.run_requests
    ranges = request.run_config["ops"]["flights_stream"]["config"]["ranges"]
    assert sum(item["end"] - item["start"] for item in ranges) == 1_200
    assert request.job_name == "flights_burst"
    assert request.partition_key == "2026-11-23-14:00"
    assert Cursor.parse(data.cursor).attempt == 1
    assert ticks.platform.run(ranges=ranges).success
    assert ticks.tick().skip_message == "lag 0; nothing new"


@pytest.mark.usefixtures("no_waiting")
def test_a_tick_while_a_burst_is_at_work(ticks: Ticks, some_flights: list[Event]):
    produce(ticks.platform.settings.kafka.bootstrap_servers, some_flights)
    run = create_run_for_test(
        ticks.platform.instance,
        status=dg.DagsterRunStatus.STARTED,
        tags={"analytics/domain": "flights", "analytics/mode": "stream"},
    )

    assert ticks.tick().skip_message == f"burst {run.run_id[:8]}… is at work, lag 1,200"
    ticks.platform.instance.delete_run(run.run_id)
    assert ticks.tick().run_requests


@pytest.mark.usefixtures("no_waiting")
def test_a_topic_stops_while_a_burst_is_at_work(ticks: Ticks):
    """Nobody has to wait for the burst's end to hear of it."""
    create_run_for_test(
        ticks.platform.instance,
        status=dg.DagsterRunStatus.STARTED,
        tags={"analytics/domain": "flights", "analytics/mode": "stream"},
    )

    message = ticks.tick().skip_message

    assert " is at work, lag 0; stopped: flights.arrivals: no such topic at " in message


def test_a_tick_waits_for_news(ticks: Ticks, some_flights: list[Event], monkeypatch: pytest.MonkeyPatch):
    servers = ticks.platform.settings.kafka.bootstrap_servers
    produce(servers, some_flights[:1])
    assert ticks.platform.run(ranges=ticks.platform.waiting()).success
    left = [some_flights[1:]]

    def sleep(_seconds: float) -> None:
        produce(servers, left.pop())  # an error the second time: the news must have been seen by then

    monkeypatch.setattr(sensors, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    data = ticks.tick()

    assert len(data.run_requests) == 1
    assert left == []


@pytest.mark.usefixtures("no_waiting")
def test_a_tick_while_kafka_is_down(ticks: Ticks, broker: EmbeddedBroker):
    servers = broker.bootstrap_servers
    before = ticks.cursor
    broker.stop()

    data = ticks.tick()

    assert data.run_requests == []
    assert data.skip_message.startswith(f"Kafka at {servers} does not answer")
    assert ticks.cursor == before


@pytest.mark.usefixtures("no_waiting")
def test_topics_that_do_not_exist_yet(ticks: Ticks):
    message = ticks.tick().skip_message

    assert message.startswith("lag 0; nothing new; stopped: flights.arrivals: no such topic at ")
    assert "stopped: flights.departures: no such topic at " in message
