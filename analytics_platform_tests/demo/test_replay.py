import time
import uuid
from datetime import timedelta
from itertools import count

import polars as pl
import pytest

from analytics_platform.demo.events import Event
from analytics_platform.demo.ledger import Ledger, record_bytes
from analytics_platform.demo.replay import Replay
from analytics_platform.demo.trouble import Sent, send_order
from analytics_platform.errors import KafkaError
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.embedded import PARTITIONS, EmbeddedBroker
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.produce import create_topic
from analytics_platform.settings import KafkaSettings, Settings


def until(look, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def kafka(embedded) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=embedded)


@pytest.fixture
def records(week: list[Event], kafka) -> list[Sent]:
    """A thousand events with their trouble, for topics of this test alone."""
    names = {topic: f"{topic}.{uuid.uuid4().hex[:8]}" for topic in {event.topic for event in week}}
    for name in names.values():
        create_topic(kafka, name)
    return [sent._replace(topic=names[sent.topic]) for sent in send_order(week[:1000], seed=7)]


def ledger_for(records: list[Sent]) -> Ledger:
    return Ledger(sorted({sent.topic for sent in records}), PARTITIONS)


def read_back(kafka: KafkaSettings, topic: str) -> pl.DataFrame:
    with KafkaLog(Settings(kafka=kafka)) as log:
        marks = log.state(topic).partitions
        ranges = [OffsetRange(item, 0, found.end) for item, found in marks.items() if found.end]
        return log.read(topic, ranges, max_bytes=1 << 30).frame


def test_every_record_stands_where_the_ledger_says(kafka, records):
    ledger = ledger_for(records)
    replay = Replay(kafka, records, ledger, per_second=0, unread_bytes=None)
    replay.start()
    until(lambda: replay.done, "the replay to end")
    expected: dict[str, list[tuple]] = {}
    offsets: dict[tuple[str, int], count] = {place: count() for place in ledger.parts}
    for sent in records:
        place = ledger.place(sent)
        offset = next(offsets[place])
        expected.setdefault(sent.topic, []).append((place[1], offset, sent.key, sent.value))
        if sent.reason is not None:
            assert ledger.parts[place].faults[offset] == sent.reason
    for topic, rows in expected.items():
        assert read_back(kafka, topic).select("partition", "offset", "key", "value").rows() == sorted(rows)
    assert ledger.sent == len(records)
    assert sum(part.kept for part in ledger.parts.values()) == 1000
    assert sum(ledger.by_kind().values()) == len(records)
    assert sum(part.upto(part.sent) for part in ledger.parts.values()) == sum(map(record_bytes, records))


def test_unread_bytes_stay_below_the_limit_until_something_is_read(kafka, records):
    ledger, limit = ledger_for(records), 20_000
    replay = Replay(kafka, records, ledger, per_second=0, unread_bytes=limit)
    read = dict.fromkeys(ledger.parts, 0)

    def unread() -> int:
        return max(part.size_bytes(read[place], part.sent) for place, part in ledger.parts.items())

    replay.start()
    rounds = 0
    while not replay.done:
        until(lambda: replay.waiting or replay.done, "the replay to hold back or end")
        # One record that alone is larger (nested ten thousand deep) goes through once all before it is read.
        assert unread() <= limit + 25_000
        rounds += 1
        read, before = ledger.ends(), ledger.sent
        replay.taken(read)
        until(lambda before=before: ledger.sent > before or replay.done, "the replay to go on")
    assert rounds > 5
    assert replay.waited_s > 0
    assert ledger.sent == len(records)


def test_nothing_is_sent_while_nothing_is_read(kafka, records):
    ledger = ledger_for(records)
    replay = Replay(kafka, records, ledger, per_second=0, unread_bytes=5_000)
    replay.start()
    until(lambda: replay.waiting, "the replay to hold back")
    sent = ledger.sent
    assert 0 < sent < len(records)
    replay.taken(dict.fromkeys(ledger.parts, 0))
    replay.taken(dict.fromkeys(ledger.parts, 0))
    assert ledger.sent == sent
    replay.stop()
    assert not replay.done


def test_the_pace_is_kept(kafka, records):
    ledger = ledger_for(records)
    replay = Replay(kafka, records[:300], ledger, per_second=200, unread_bytes=None)
    began = time.monotonic()
    replay.start()
    until(lambda: replay.done, "the replay to end")
    assert time.monotonic() - began >= 300 / 200 - 0.1
    assert ledger.sent == 300


def test_a_broker_that_is_gone_ends_the_replay_with_the_reason(records):
    with EmbeddedBroker() as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, timeout=timedelta(seconds=0.5))
        ledger = ledger_for(records)
        for topic, _ in ledger.parts:
            create_topic(kafka, topic)
        replay = Replay(kafka, records[:100], ledger, per_second=100, unread_bytes=None)
        replay.start()
        until(lambda: ledger.sent > 0, "the replay to begin")
    until(lambda: replay.failure is not None, "the failure to show", seconds=30)
    assert isinstance(replay.failure, KafkaError)
    assert not replay.done
    replay.stop()
