from datetime import timedelta

import pytest

from analytics_platform.demo.broker import APACHE, EMBEDDED, broker
from analytics_platform.errors import BrokerNotStarted, BrokerUnavailable
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.settings import KafkaSettings, Settings


@pytest.mark.parametrize("kind", [EMBEDDED, pytest.param(APACHE, marks=pytest.mark.kafka)])
def test_it_serves_until_the_block_ends(kind, tmp_path):
    with broker(kind, tmp_path / "kafka") as servers:
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=servers))
        create_topic(settings.kafka, "flights")
        assert send(settings.kafka, "flights", [Record(b"key", b"value", partition=2)]) == 1
        with KafkaLog(settings) as log:
            assert {item: marks.end for item, marks in log.state("flights").partitions.items()} == {
                0: 0,
                1: 0,
                2: 1,
                3: 0,
            }
    impatient = Settings(kafka=KafkaSettings(bootstrap_servers=servers, timeout=timedelta(seconds=0.5)))
    with pytest.raises(BrokerUnavailable), KafkaLog(impatient) as log:
        log.state("flights")


def test_what_is_missing_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerNotStarted, match="java is not installed"), broker(APACHE, tmp_path / "kafka"):
        pass
