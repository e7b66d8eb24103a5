import logging
from dataclasses import replace
from datetime import timedelta

import confluent_kafka
import pytest
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from analytics_platform.errors import AccessDenied, BrokerUnavailable, KafkaError, SettingsError, UnknownTopic
from analytics_platform.kafka.client import Connection
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.settings import KafkaSettings, Secret, Settings
from analytics_platform_tests.kafka.conftest import new_name, settings_of

PASSWORD = "canary-5e1f"  # noqa: S105  made up, to be looked for in every text


def login(servers, password, user="reader"):
    return Settings(
        kafka=KafkaSettings(
            bootstrap_servers=servers,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username=user,
            sasl_password=Secret(password),
            timeout=timedelta(seconds=3),
        )
    )


@pytest.mark.parametrize(
    ("code", "expected", "retryable"),
    [
        ("_TRANSPORT", BrokerUnavailable, True),
        ("_ALL_BROKERS_DOWN", BrokerUnavailable, True),
        ("NOT_LEADER_FOR_PARTITION", BrokerUnavailable, True),
        ("_AUTHENTICATION", AccessDenied, False),
        ("_SSL", AccessDenied, False),
        ("TOPIC_AUTHORIZATION_FAILED", AccessDenied, False),
        ("UNKNOWN_TOPIC_OR_PART", UnknownTopic, False),
        ("INVALID_CONFIG", KafkaError, False),
    ],
)
def test_meaning_of_an_error(code, expected, retryable):
    error = confluent_kafka.KafkaError(getattr(confluent_kafka.KafkaError, code))
    found = Connection(KafkaSettings()).trouble(KafkaException(error), "looking at flights", "flights")
    assert type(found) is expected
    assert found.retryable is retryable
    assert "flights" in str(found)


def test_setting_that_librdkafka_does_not_take():
    kafka = KafkaSettings(security_protocol="sasl_nonsense", sasl_password=Secret(PASSWORD))
    with pytest.raises(SettingsError, match=r"security\.protocol") as caught:
        KafkaLog(Settings(kafka=kafka))
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


def test_librdkafka_speaks_through_logging(caplog):
    caplog.set_level(logging.INFO)
    with KafkaLog(settings_of("127.0.0.1:1", timedelta(seconds=1))) as log, pytest.raises(BrokerUnavailable):
        log.state("flights")
    assert any(
        record.name == "analytics_platform.kafka" and "Connection refused" in record.message
        for record in caplog.records
    )


def test_wrong_password(sasl_servers, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with (
        KafkaLog(login(sasl_servers, PASSWORD)) as log,
        pytest.raises(AccessDenied, match="Authentication failed") as caught,
    ):
        log.state("flights")
    assert not caught.value.retryable
    said = capfd.readouterr()
    for text in (str(caught.value), repr(caught.value), caplog.text, said.out, said.err):
        assert PASSWORD not in text


def test_wrong_password_of_a_producer(sasl_servers):
    with pytest.raises(AccessDenied, match="Authentication failed"):
        send(login(sasl_servers, PASSWORD).kafka, "flights", [Record(None, b"1")])


def test_plain_client_on_a_port_that_wants_a_login(sasl_servers):
    with KafkaLog(settings_of(sasl_servers, timedelta(seconds=1))) as log, pytest.raises(BrokerUnavailable):
        log.state("flights")


def test_rights_of_a_topic(apache, sasl_servers):
    settings, name = login(sasl_servers, "right"), new_name()
    create_topic(settings_of(apache).kafka, name)
    with KafkaLog(settings) as log:
        with pytest.raises(AccessDenied, match="Topic authorization failed"):
            log.state(name)
        owner = AdminClient({"bootstrap.servers": apache})
        rule = AclBinding(
            ResourceType.TOPIC,
            name,
            ResourcePatternType.LITERAL,
            "User:reader",
            "*",
            AclOperation.DESCRIBE,
            AclPermissionType.ALLOW,
        )
        owner.create_acls([rule])[rule].result()
        send(settings_of(apache).kafka, name, [Record(None, b"1", partition=0)])
        assert log.state(name).partitions[0].end == 1
        with pytest.raises(AccessDenied, match="Topic authorization failed"):  # may look, may not read
            log.read(name, [OffsetRange(0, 0, 1)], max_bytes=100)
        reading = AclBinding(
            ResourceType.TOPIC,
            name,
            ResourcePatternType.LITERAL,
            "User:reader",
            "*",
            AclOperation.READ,
            AclPermissionType.ALLOW,
        )
        owner.create_acls([reading])[reading].result()
        assert log.read(name, [OffsetRange(0, 0, 1)], max_bytes=100).frame.height == 1
        log.commit_hint(name, {0: 1})  # no right to the group: only logged


def test_timeout_setting_bounds_requests():
    kafka = replace(KafkaSettings(), timeout=timedelta(milliseconds=1))
    Connection(kafka).client(Consumer, {"group.id": "g"}).close()  # librdkafka would refuse one millisecond
