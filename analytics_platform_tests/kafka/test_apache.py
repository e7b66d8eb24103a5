import os
import signal
import subprocess
import sys
import time

import pytest

from analytics_platform.errors import BrokerNotStarted
from analytics_platform.kafka import apache as apache_module
from analytics_platform.kafka.apache import ApacheKafka, classpath, down, missing, up
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform_tests.kafka.conftest import settings_of
from analytics_platform_tests.kafka.test_embedded import alive
from analytics_platform_tests.port import free_port

STARTER = """
import sys; from pathlib import Path
from analytics_platform.kafka.apache import ApacheKafka
print(ApacheKafka(Path(sys.argv[1])).start().pid, flush=True)
input()
"""


def program(folder, name, script):
    """A program of that name, first on the path and alone there."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_no_java(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing() == "java is not installed; Java 17 or newer is needed"
    with pytest.raises(BrokerNotStarted, match="java is not installed"):
        ApacheKafka(tmp_path / "kafka").start()


def test_java_too_old(monkeypatch, tmp_path):
    program(tmp_path / "bin", "java", """echo 'openjdk version "11.0.2" 2019-01-15' >&2""")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert missing() == "java is 11; Java 17 or newer is needed"


def test_no_maven_and_no_jars(monkeypatch, tmp_path):
    program(tmp_path / "bin", "java", """echo 'openjdk version "21" 2023-09-19' >&2""")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(apache_module, "_CACHE", tmp_path / "cache")
    assert missing() == "mvn (Maven) is not installed; it fetches Kafka's jars"
    with pytest.raises(BrokerNotStarted, match="mvn"):
        classpath()


def test_maven_without_a_network(monkeypatch, tmp_path):
    program(tmp_path / "bin", "mvn", "echo '[ERROR] Unknown host'; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(apache_module, "_CACHE", tmp_path / "cache")
    with pytest.raises(BrokerNotStarted, match="Unknown host"):
        classpath()


def test_maven_is_asked_once(monkeypatch, tmp_path):
    jar = tmp_path / "kafka.jar"
    jar.touch()
    program(
        tmp_path / "bin",
        "mvn",
        f"""for a; do case $a in -Dmdep.outputFile=*) echo {jar} > "${{a#*=}}";; esac; done; echo >> {tmp_path}/asked""",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(apache_module, "_CACHE", tmp_path / "cache")
    assert [classpath(), classpath()] == [str(jar), str(jar)]
    assert (tmp_path / "asked").read_text() == "\n"
    jar.unlink()  # Maven's repository was cleaned
    classpath()
    assert (tmp_path / "asked").read_text() == "\n\n"


def test_down_without_a_broker(tmp_path):
    assert not down(tmp_path)


@pytest.mark.kafka
def test_up_and_down_and_up_again(tmp_path):
    port = free_port()
    broker = up(tmp_path, port)
    try:
        kafka = settings_of(broker.bootstrap_servers).kafka
        create_topic(kafka, "flights", partitions=1)
        send(kafka, "flights", [Record(None, b"1")])
        again = up(tmp_path, port)
        assert (again.pid, again.bootstrap_servers) == (broker.pid, broker.bootstrap_servers)
    finally:
        assert down(tmp_path)
    assert not down(tmp_path)
    try:
        broker = up(tmp_path, port)
        with KafkaLog(settings_of(broker.bootstrap_servers)) as log:
            assert log.state("flights").partitions[0].end == 1
    finally:
        assert down(tmp_path)


@pytest.mark.kafka
def test_ends_when_its_starter_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        pid = int(starter.stdout.readline())
        assert alive(pid)
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.kafka
def test_setting_that_kafka_does_not_take(tmp_path):
    with pytest.raises(BrokerNotStarted, match=r"ended at once.*kafka\.log"):
        ApacheKafka(tmp_path, properties={"num.io.threads": "many"}).start()
