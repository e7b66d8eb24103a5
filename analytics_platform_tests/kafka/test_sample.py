from datetime import timedelta
from uuid import uuid4

import pytest

from analytics_platform.errors import UnknownTopic
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.kafka.sample import newest
from analytics_platform.settings import KafkaSettings, Settings


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def settings(request: pytest.FixtureRequest) -> Settings:
    servers = request.getfixturevalue(request.param)
    return Settings(kafka=KafkaSettings(bootstrap_servers=servers, timeout=timedelta(seconds=5)))


def filled(settings: Settings, records: int) -> str:
    topic = f"test.{uuid4().hex[:12]}"
    create_topic(settings.kafka, topic)  # of four partitions
    send(settings.kafka, topic, (Record(str(number).encode(), str(number).encode()) for number in range(records)))
    return topic


def test_the_newest_of_each_partition(settings: Settings) -> None:
    topic = filled(settings, 100)
    everything = newest(settings, topic, 1000)
    assert sorted(int(row["value"]) for row in everything) == list(range(100))
    found = newest(settings, topic, 12)
    assert len(found) == 12
    for partition in {row["partition"] for row in everything}:
        offsets = [row["offset"] for row in everything if row["partition"] == partition]
        assert [row["offset"] for row in found if row["partition"] == partition] == offsets[-3:]


def test_fewer_than_partitions(settings: Settings) -> None:
    assert {row["partition"] for row in newest(settings, filled(settings, 60), 1)} == {0, 1, 2, 3}


def test_nothing_there(settings: Settings) -> None:
    assert newest(settings, filled(settings, 0), 10) == []


@pytest.mark.kafka
def test_no_such_topic(apache: str) -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=apache, timeout=timedelta(seconds=5)))
    with pytest.raises(UnknownTopic):
        newest(settings, f"test.{uuid4().hex[:12]}", 10)
