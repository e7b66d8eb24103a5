"""A cluster, a topic and a log for each test; by default each test runs on both brokers."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import OffsetRange, TopicState
from analytics_platform.kafka.produce import Record, create_topic
from analytics_platform.settings import KafkaSettings, Settings


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def settings(request: pytest.FixtureRequest) -> Settings:
    return settings_of(request.getfixturevalue(request.param))


@pytest.fixture
def apache_settings(apache) -> Settings:
    return settings_of(apache)


@pytest.fixture
def topic(settings: Settings) -> str:
    name = new_name()
    assert create_topic(settings.kafka, name)
    return name


@pytest.fixture
def log(settings: Settings) -> Iterator[KafkaLog]:
    with KafkaLog(settings) as log:
        yield log


@pytest.fixture
def apache_log(apache_settings: Settings) -> Iterator[KafkaLog]:
    with KafkaLog(apache_settings) as log:
        yield log


@pytest.fixture
def admin(apache: str) -> AdminClient:
    """Held by the test: librdkafka drops what was asked of a client that is gone."""
    return AdminClient({"bootstrap.servers": apache})


@pytest.fixture
def apache_topic(apache_settings: Settings) -> Callable[..., str]:
    """Makes a topic with the settings given."""

    def make(partitions: int = 1, **config: str) -> str:
        name = new_name()
        dotted = {key.replace("_", "."): value for key, value in config.items()}
        assert create_topic(apache_settings.kafka, name, partitions=partitions, config=dotted)
        return name

    return make


def settings_of(servers: str, timeout: timedelta = timedelta(seconds=5)) -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap_servers=servers, timeout=timeout))


def new_name() -> str:
    return f"test.{uuid4().hex[:12]}"


def whole(state: TopicState) -> list[OffsetRange]:
    """All the broker holds of a topic."""
    return [
        OffsetRange(partition, marks.low, marks.end)
        for partition, marks in sorted(state.partitions.items())
        if marks.low < marks.end
    ]


def numbers(count, partition=0, start=0):
    return [Record(None, b"%d" % number, partition=partition) for number in range(start, start + count)]


def values(frame):
    return [bytes(value) for value in frame["value"]]
