import json
from collections import Counter
from itertools import count, islice, pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.reason import Reason
from analytics_platform.demo.events import TOPICS, Event
from analytics_platform.demo.fault import FAULTS, Kind
from analytics_platform.demo.trouble import DUPLICATES, LATEST_US, NEAR_EVENTS, REAL, Counts, Shares, send_order

NONE = Shares(0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def replay(week):
    return list(send_order(week, seed=7))


def identity(value):
    return value[: value.index(b'"trace_id"')]


def loads_strictly(value):
    def unique(pairs):
        assert len({name for name, _ in pairs}) == len(pairs), "duplicate key"
        return dict(pairs)

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(value, object_pairs_hook=unique, parse_constant=refuse)


def test_every_real_event_is_sent_once_and_unchanged(week, replay):
    sent = Counter((record.topic, record.key, record.value) for record in replay if record.kind in REAL)
    assert sent == Counter((event.topic, event.key, event.value) for event in week)


def test_no_trouble_is_the_events_alone(week):
    replay = list(send_order(week, 7, NONE))
    assert [(record.key, record.value, record.kind) for record in replay] == [
        (event.key, event.value, Kind.ON_TIME) for event in week
    ]


def test_the_same_seed_gives_the_same_records(week, replay):
    assert list(send_order(iter(week), seed=7)) == replay
    assert list(send_order(week, seed=8)) != replay


def test_shares_are_kept(week, replay):
    kinds = Counter(record.kind for record in replay)
    expected = {
        (Kind.DUPLICATE, Kind.FAR_DUPLICATE): 0.02,
        (Kind.LATE,): 0.01,
        (Kind.MALFORMED,): 0.005,
        (Kind.CONTRACT_BREAKER,): 0.005,
        (Kind.UNKNOWN_VERSION,): 0.0005,
        (Kind.UNKNOWN_TYPE,): 0.0005,
    }
    for those, share in expected.items():
        mean = share * len(week)
        found = sum(kinds[kind] for kind in those)
        assert abs(found - mean) <= 4 * mean**0.5, those
    assert 0.1 < kinds[Kind.FAR_DUPLICATE] / (kinds[Kind.DUPLICATE] + kinds[Kind.FAR_DUPLICATE]) < 0.3


def test_late_events_are_late_by_up_to_six_hours(replay):
    now, lateness = 0, []
    for record in replay:
        if record.kind is Kind.LATE:
            lateness.append(now - record.occurred_at_us)
        elif record.kind is Kind.ON_TIME:
            now = record.occurred_at_us
    assert all(0 <= late <= LATEST_US for late in lateness)
    assert max(lateness) > 0.9 * LATEST_US


def test_what_is_not_late_is_in_event_order(replay):
    on_time = [record.occurred_at_us for record in replay if record.kind is Kind.ON_TIME]
    assert all(earlier <= later for earlier, later in pairwise(on_time))


def test_a_copy_follows_its_event_in_the_same_partition(replay):
    places, distances = {}, {kind: [] for kind in DUPLICATES}
    for place, record in enumerate(replay):
        if record.kind in REAL:
            places[identity(record.value)] = place, record
        elif record.kind in DUPLICATES:
            original_place, original = places[identity(record.value)]
            assert (record.topic, record.key) == (original.topic, original.key)
            assert (record.value == original.value) is (record.kind is Kind.DUPLICATE)
            theirs, ours = json.loads(original.value), json.loads(record.value)
            assert theirs | {"trace_id": ours["trace_id"]} == ours
            distances[record.kind].append(place - original_place)
    assert max(distances[Kind.DUPLICATE]) <= NEAR_EVENTS * 1.2
    assert max(distances[Kind.FAR_DUPLICATE]) > len(replay) / 2


def test_every_fault_occurs(replay):
    assert {record.fault for record in replay if record.fault} == {fault for all_ in FAULTS.values() for fault in all_}


@pytest.mark.parametrize("event_type", TOPICS)
@pytest.mark.parametrize("fault", FAULTS[Kind.MALFORMED], ids=lambda fault: fault.name)
def test_malformed_is_what_it_says(week, event_type, fault):
    event = next(event for event in week if event.event_type == event_type)
    for seed in range(20):
        value = fault.make(event, Random(seed))
        if fault.reason is Reason.MISSING_VALUE:
            assert value is None
        elif fault.reason is Reason.INVALID_UTF8:
            with pytest.raises(UnicodeDecodeError):
                value.decode()
        elif fault.reason is Reason.MALFORMED_JSON:
            with pytest.raises(ValueError, match=r"Expecting|Extra data|Unterminated|NaN|Infinity"):
                loads_strictly(value.decode())
        elif fault.reason is Reason.NOT_AN_OBJECT:
            assert not isinstance(loads_strictly(value), dict)
        else:
            assert fault.reason is Reason.TOO_DEEP
            assert value.count(b"[") == value.count(b"]") == 10_000


@pytest.mark.parametrize("event_type", TOPICS)
def test_breakers_are_strangers(week, event_type):
    known = {json.loads(event.value)["idempotency_key"] for event in week}
    event = next(event for event in week if event.event_type == event_type)
    sound = json.loads(event.value)
    for kind in (Kind.CONTRACT_BREAKER, Kind.UNKNOWN_VERSION, Kind.UNKNOWN_TYPE):
        for fault in FAULTS[kind]:
            value = fault.make(event, Random(1))
            fields = json.loads(value)
            assert fields["idempotency_key"] not in known
            changed = {name for name in sound if fields.get(name) != sound[name]}
            changed -= {"idempotency_key", "flight_number", "observed_at", "occurred_at"}
            assert len(changed) <= 1, fault.name
            if fault.name == "duplicate_key":
                with pytest.raises(AssertionError, match="duplicate key"):
                    loads_strictly(value)


def test_a_replay_without_end_is_sent_as_it_comes(week):
    def forever():
        for number in count():
            event = week[number % len(week)]
            yield event._replace(occurred_at_us=number * 1_000_000)

    assert len(list(islice(send_order(forever(), seed=1), 1000))) == 1000


def test_a_late_event_at_the_end_is_still_sent():
    event = Event("weather_observed", b"EWR", b"{}", 0, ())
    [sent] = send_order([event], 1, Shares(0, 1, 0, 0, 0, 0))
    assert (sent.kind, sent.value) == (Kind.LATE, b"{}")


@pytest.mark.parametrize("shares", [{"late": -0.1}, {"duplicates": 0.6, "malformed": 0.6}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="shares of trouble"):
        Shares(**shares)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32), first=st.integers(0, 400))
def test_counts_add_up(week, data, seed, first):
    shares = Shares(*(data.draw(st.floats(0, 1 / 6)) for _ in range(6)))
    counts = Counts()
    replay = list(send_order(week[:first], seed, shares))
    for record in replay:
        counts.add(record)
    assert counts.sent == len(replay) == sum(counts.by_topic.values()) == sum(counts.by_kind.values())
    assert counts.real == Counter(event.topic for event in week[:first])
    for topic, read in counts.by_topic.items():
        quarantined = sum(rows for (of, _), rows in counts.quarantined.items() if of == topic)
        assert read == counts.real.get(topic, 0) + counts.duplicates.get(topic, 0) + quarantined
    assert sum(counts.by_fault.values()) == sum(counts.quarantined.values())
    assert counts.quarantined == Counter((record.topic, record.reason) for record in replay if record.reason)
