import signal
import subprocess
import sys
import time

import pytest
from confluent_kafka import Producer

from analytics_platform.errors import BrokerNotStarted, RecordsDamaged
from analytics_platform.kafka import embedded as embedded_module
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.embedded import PARTITIONS, EmbeddedBroker
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.produce import Record, send
from analytics_platform_tests.kafka.conftest import new_name, settings_of

STARTER = """
from analytics_platform.kafka.embedded import EmbeddedBroker
broker = EmbeddedBroker().start()
print(broker.pid, flush=True)
input()
"""


def alive(pid):
    """Whether it runs: one that ended may stand in the table for minutes until somebody fetches its exit code."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_ends_when_its_starter_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        pid = int(starter.stdout.readline())
        assert alive(pid)
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_stops_and_starts_again():
    broker = EmbeddedBroker()
    for _ in range(2):
        with broker:
            pid = broker.pid
            assert broker.bootstrap_servers.startswith("127.0.0.1:")
        assert not alive(pid)
    broker.stop()  # once more is no error


def test_process_that_does_not_come_up(monkeypatch):
    monkeypatch.setattr(embedded_module.sys, "executable", "false")
    with pytest.raises(BrokerNotStarted, match="exit code 1"):
        EmbeddedBroker().start()


def test_two_brokers_know_nothing_of_each_other():
    with EmbeddedBroker() as one, EmbeddedBroker() as two:
        for broker in (one, two):
            send(settings_of(broker.bootstrap_servers).kafka, "flights", [Record(None, b"1", partition=0)])
        logs = []
        for broker in (one, two):
            with KafkaLog(settings_of(broker.bootstrap_servers)) as log:
                logs.append(log.state("flights").log)
        assert logs[0] != logs[1]


# The limits that docs/kafka.md names: when one of these fails, a limit is gone and the page wants a new line.


def test_limit_partitions_and_topic_id(embedded):
    settings, name = settings_of(embedded), new_name()
    send(settings.kafka, name, [Record(None, b"1", partition=0)])
    with KafkaLog(settings) as log:
        state = log.state(name)
    assert (len(state.partitions), state.topic_id) == (PARTITIONS, "")


def test_limit_transactions_cannot_be_read(embedded):
    settings, name = settings_of(embedded), new_name()
    producer = Producer({"bootstrap.servers": embedded, "transactional.id": name})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(name, b"1", partition=0)
    producer.flush(10)
    producer.commit_transaction(10)
    with KafkaLog(settings) as log, pytest.raises(RecordsDamaged, match="failed CRC32C check"):
        log.read(name, [OffsetRange(0, 0, log.state(name).partitions[0].end)], max_bytes=1000)
