from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from analytics_platform.errors import SettingsError
from analytics_platform.settings import KafkaSettings, RegistrySettings, Secret, Settings

ALL = {
    "ANALYTICS_LAKE": "/data/lake",
    "ANALYTICS_CONTRACTS": "/data/contracts",
    "ANALYTICS_BATCH_ROWS": "7",
    "ANALYTICS_BATCH_BYTES": "8",
    "ANALYTICS_MAX_VALUE_BYTES": "9",
    "ANALYTICS_BURST_SECONDS": "1.5",
    "ANALYTICS_IDLE_SECONDS": "0",
    "ANALYTICS_BATCH_INTERVAL_SECONDS": "0.25",
    "ANALYTICS_FSYNC": "false",
    "ANALYTICS_KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2",
    "ANALYTICS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "ANALYTICS_KAFKA_SASL_MECHANISM": "PLAIN",
    "ANALYTICS_KAFKA_SASL_USERNAME": "me",
    "ANALYTICS_KAFKA_SASL_PASSWORD": "hush",
    "ANALYTICS_KAFKA_SSL_CA_LOCATION": "/etc/ca.pem",
    "ANALYTICS_KAFKA_SSL_CERTIFICATE_LOCATION": "/etc/me.pem",
    "ANALYTICS_KAFKA_SSL_KEY_LOCATION": "/etc/me.key",
    "ANALYTICS_KAFKA_SSL_KEY_PASSWORD": "hush too",
    "ANALYTICS_KAFKA_TIMEOUT_SECONDS": "3",
    "ANALYTICS_REGISTRY_URL": "https://a:1,https://b:2",
    "ANALYTICS_REGISTRY_USERNAME": "me",
    "ANALYTICS_REGISTRY_PASSWORD": "hush",
    "ANALYTICS_REGISTRY_CLUSTER": "lsrc-1",
    "ANALYTICS_REGISTRY_CA_LOCATION": "/etc/ca.pem",
    "ANALYTICS_REGISTRY_CERTIFICATE_LOCATION": "/etc/me.pem",
    "ANALYTICS_REGISTRY_KEY_LOCATION": "/etc/me.key",
    "ANALYTICS_REGISTRY_KEY_PASSWORD": "hush too",
    "ANALYTICS_REGISTRY_TIMEOUT_SECONDS": "2",
}
EXPECTED = Settings(
    lake=Path("/data/lake"),
    contracts=Path("/data/contracts"),
    batch_rows=7,
    batch_bytes=8,
    max_value_bytes=9,
    burst=timedelta(seconds=1.5),
    idle=timedelta(0),
    batch_interval=timedelta(seconds=0.25),
    fsync=False,
    kafka=KafkaSettings(
        bootstrap_servers="a:1,b:2",
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="me",
        sasl_password=Secret("hush"),
        ssl_ca_location=Path("/etc/ca.pem"),
        ssl_certificate_location=Path("/etc/me.pem"),
        ssl_key_location=Path("/etc/me.key"),
        ssl_key_password=Secret("hush too"),
        timeout=timedelta(seconds=3),
    ),
    registry=RegistrySettings(
        url="https://a:1,https://b:2",
        username="me",
        password=Secret("hush"),
        cluster="lsrc-1",
        ca_location=Path("/etc/ca.pem"),
        certificate_location=Path("/etc/me.pem"),
        key_location=Path("/etc/me.key"),
        key_password=Secret("hush too"),
        timeout=timedelta(seconds=2),
    ),
)


def test_every_variable() -> None:
    assert Settings.from_env(ALL) == EXPECTED


def test_no_variables() -> None:
    assert Settings.from_env({"PATH": "/bin", "ANALYTICSX": "1"}) == Settings()


@pytest.mark.parametrize("settings", [Settings(), EXPECTED], ids=["defaults", "all set"])
def test_settings_become_variables_and_settings_again(settings: Settings) -> None:
    assert Settings.from_env(settings.environ()) == settings


def test_all_variables_are_named_by_environ() -> None:
    assert set(EXPECTED.environ()) == set(ALL)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("ANALYTICS_LAEK", "x", "ANALYTICS_LAEK is unknown (did you mean ANALYTICS_LAKE?)"),
        ("ANALYTICS_ZZZ", "x", "ANALYTICS_ZZZ is unknown"),
        ("ANALYTICS_KAFKA", "x", "ANALYTICS_KAFKA is unknown"),
        ("ANALYTICS_LAKE", "", "ANALYTICS_LAKE: is empty"),
        ("ANALYTICS_BATCH_ROWS", "0", "ANALYTICS_BATCH_ROWS: found '0', allowed is a whole number above 0"),
        ("ANALYTICS_BATCH_ROWS", "1e3", "allowed is a whole number above 0"),
        ("ANALYTICS_BATCH_ROWS", "-1", "allowed is a whole number above 0"),
        ("ANALYTICS_BURST_SECONDS", "-1", "allowed is a number of seconds from 0 to"),
        ("ANALYTICS_BURST_SECONDS", "nan", "allowed is a number of seconds from 0 to"),
        ("ANALYTICS_BURST_SECONDS", "inf", "allowed is a number of seconds from 0 to"),
        ("ANALYTICS_BURST", "1", "ANALYTICS_BURST is unknown (did you mean ANALYTICS_BURST_SECONDS?)"),
        ("ANALYTICS_FSYNC", "maybe", "found 'maybe', allowed are true and false"),
    ],
)
def test_a_variable_that_does_not_fit(name: str, value: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})
    assert complaint in str(caught.value)


def test_all_complaints_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"ANALYTICS_NO": "1", "ANALYTICS_BATCH_ROWS": "x", "ANALYTICS_FSYNC": "y"})
    assert len(caught.value.complaints) == 3


def test_an_empty_password_is_refused_and_never_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"ANALYTICS_KAFKA_SASL_PASSWORD": ""})
    assert "ANALYTICS_KAFKA_SASL_PASSWORD" in str(caught.value)


@pytest.mark.parametrize("text", ["yes", "1", "ON", "True"])
def test_words_for_true(text: str) -> None:
    assert Settings.from_env({"ANALYTICS_FSYNC": text}).fsync


def test_secrets_show_nowhere_but_to_the_client() -> None:
    shown = (
        f"{EXPECTED!r} {EXPECTED} {EXPECTED.kafka!r} {EXPECTED.kafka.sasl_password!r} {[EXPECTED.kafka.sasl_password]}"
    )
    assert "hush" not in shown
    config = EXPECTED.kafka.client_config()
    assert config == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
        "sasl.password": "hush",
        "ssl.ca.location": "/etc/ca.pem",
        "ssl.certificate.location": "/etc/me.pem",
        "ssl.key.location": "/etc/me.key",
        "ssl.key.password": "hush too",
    }


def test_what_is_not_set_is_left_to_the_client() -> None:
    assert KafkaSettings().client_config() == {"bootstrap.servers": "127.0.0.1:9092"}
    assert replace(EXPECTED, lake=Path("x")) != EXPECTED


def test_a_lake_that_no_table_can_be_kept_under() -> None:
    with pytest.raises(SettingsError, match=r"ANALYTICS_LAKE: /data/\[x\] holds \[ \], which no table's path may"):
        Settings.from_env({"ANALYTICS_LAKE": "/data/[x]"})


def test_a_duration_longer_than_any_clock() -> None:
    with pytest.raises(SettingsError, match="ANALYTICS_BURST_SECONDS: found '1e300', allowed is a number of seconds"):
        Settings.from_env({"ANALYTICS_BURST_SECONDS": "1e300"})


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"URL": "localhost:8081"}, "an address begins with http:// or https://"),
        ({"URL": "http://a,b"}, "an address begins with http:// or https://"),
        ({"URL": "http://me:hush@a"}, "credentials belong into ANALYTICS_REGISTRY_USERNAME and _PASSWORD"),
        ({"USERNAME": "me"}, "one without the other"),
        ({"TOKEN": "hush\n"}, "ANALYTICS_REGISTRY_TOKEN: holds a line break"),
        ({"TOKEN": "hush", "USERNAME": "me", "PASSWORD": "hush"}, "either it or a user's name and password"),
    ],
)
def test_a_registry_that_cannot_be_meant(variables: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({f"ANALYTICS_REGISTRY_{name}": value for name, value in variables.items()})
    assert complaint in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_key_without_a_password_asks_no_terminal_for_one() -> None:
    registry = RegistrySettings(url="https://a", certificate_location=Path("/me.pem"))
    assert registry.client_config()["ssl.key.password"] == ""


def test_a_registrys_client() -> None:
    assert EXPECTED.registry.client_config() == {
        "url": "https://a:1,https://b:2",
        "timeout": 2.0,
        "basic.auth.user.info": "me:hush",
        "ssl.ca.location": "/etc/ca.pem",
        "ssl.certificate.location": "/etc/me.pem",
        "ssl.key.location": "/etc/me.key",
        "ssl.key.password": "hush too",
    }
    assert RegistrySettings(url="http://a", token=Secret("hush")).client_config() == {
        "url": "http://a",
        "timeout": 10.0,
        "bearer.auth.credentials.source": "STATIC_TOKEN",
        "bearer.auth.token": "hush",
        "bearer.auth.logical.cluster": "",
    }
