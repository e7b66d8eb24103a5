"""Brokers for the whole session, and the word on which groups of tests do not run here."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from analytics_platform.errors import BrokerNotStarted
from analytics_platform.kafka.apache import ApacheKafka, missing
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform_tests.pages import browser
from analytics_platform_tests.port import free_port
from analytics_platform_tests.webhook import Webhook

KAFKA_REQUIRED = os.environ.get("REQUIRE_KAFKA", "") not in {"", "0"}
"""Set where the tests on Apache Kafka must not be left out: then what is missing fails them."""

KAFKA_RUNNING = os.environ.get("TEST_KAFKA")
"""`host:port` of an Apache Kafka that runs already: saves its start when tests are run again and again."""


def pytest_configure() -> None:
    # A script that starts the run in the background has it ignore Ctrl-C, and so would all that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    return [*_kafka_header(), browser.header()]


def _kafka_header() -> list[str]:
    if KAFKA_RUNNING:
        return [f"Apache Kafka: tests marked `kafka` run against {KAFKA_RUNNING}"]
    reason = missing()
    if reason is None:
        return ["Apache Kafka: tests marked `kafka` run"]
    verdict = "FAIL (REQUIRE_KAFKA is set)" if KAFKA_REQUIRED else "DO NOT RUN"
    return [f"Apache Kafka: tests marked `kafka` {verdict}: {reason}"]


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = None if KAFKA_REQUIRED or KAFKA_RUNNING else missing()
    for item in items:
        if "apache_listeners" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")
        if reason is not None and item.get_closest_marker("kafka"):
            item.add_marker(pytest.mark.skip(reason=f"Apache Kafka: {reason}"))
        if browser.CHROMIUM is None and not browser.REQUIRED and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=browser.header()))


@pytest.fixture(scope="session")
def embedded() -> Iterator[str]:
    """Bootstrap servers of librdkafka's own broker; use topics of your own name."""
    with EmbeddedBroker() as broker:
        yield broker.bootstrap_servers


@pytest.fixture(scope="session")
def apache(apache_listeners: tuple[str, str]) -> str:
    """Bootstrap servers of one Apache Kafka; use topics of your own name. A test that asks for it is marked `kafka`."""
    return apache_listeners[0]


@pytest.fixture(scope="session")
def sasl_servers(apache_listeners: tuple[str, str]) -> str:
    """The same broker by its listener that wants a login: `reader` with the password `right`, who has no rights."""
    if not apache_listeners[1]:
        pytest.skip("TEST_KAFKA has no listener that wants a login")
    return apache_listeners[1]


@pytest.fixture(scope="session")
def apache_listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The plain listener and the one that wants a login."""
    if KAFKA_RUNNING:
        yield KAFKA_RUNNING, ""
        return
    plain, sasl, controller = free_port(), free_port(), free_port()
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    broker = ApacheKafka(
        tmp_path_factory.mktemp("apache-kafka"),
        plain,
        {
            "listeners": f"PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{module} required user_reader="right";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # everybody who comes by the plain listener
        },
    )
    try:
        broker.start()
    except BrokerNotStarted as reason:
        if KAFKA_REQUIRED:
            raise
        pytest.skip(str(reason))
    yield broker.bootstrap_servers, f"127.0.0.1:{sasl}"
    broker.stop()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    found = Webhook()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()
