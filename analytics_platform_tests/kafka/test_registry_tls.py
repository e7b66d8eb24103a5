"""A registry over TLS, whose certificate, and ours, a private authority signs."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analytics_platform.errors import RegistryNotTrusted, RegistryRefused
from analytics_platform.kafka.registry import Registry
from analytics_platform.settings import RegistrySettings, Secret
from analytics_platform_tests.certificates import Authority
from analytics_platform_tests.registry import StandIn, basic

HUSH = "hush-hush"
Ask = Callable[..., Any]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def serving(authority: Authority, host: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.signs("registry", host))
    return context


@pytest.fixture
def ask(authority: Authority) -> Iterator[Ask]:
    """Asks a registry that has one schema for it, under some settings."""
    opened: list[StandIn] = []

    def asked(context: ssl.SSLContext, **settings: Any) -> Any:
        stand_in = StandIn(tls=context, login=basic("me", "hush"))
        opened.append(stand_in)
        number = stand_in.register("text")
        login = {"username": "me", "password": Secret("hush"), "ca_location": authority.certificate}
        registry = Registry(RegistrySettings(url=stand_in.url, **(login | settings)))
        try:
            return registry.schema(f"id:{number}")
        except (RegistryNotTrusted, RegistryRefused):
            assert stand_in.asked == []  # and so nobody saw the password
            raise
        finally:
            registry.close()

    yield asked
    for one in opened:
        one.close()


def test_a_certificate_of_a_private_authority(ask: Ask, authority: Authority) -> None:
    assert ask(serving(authority)).text == "text"


def test_a_folder_of_authorities(ask: Ask, authority: Authority, tmp_path: Path) -> None:
    assert ask(serving(authority), ca_location=authority.folder()).text == "text"
    (tmp_path / "empty").mkdir()
    with pytest.raises(RegistryNotTrusted, match="ANALYTICS_REGISTRY_CA_LOCATION"):
        ask(serving(authority), ca_location=tmp_path / "empty")


def test_an_authority_that_nobody_named(ask: Ask, authority: Authority) -> None:
    with pytest.raises(RegistryNotTrusted, match="unable to get local issuer certificate") as caught:
        ask(serving(authority), ca_location=None)
    assert "ANALYTICS_REGISTRY_CA_LOCATION" in str(caught.value)


def test_another_authority_of_the_same_name(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "forged").mkdir()
    with pytest.raises(RegistryNotTrusted, match="ANALYTICS_REGISTRY_CA_LOCATION") as caught:
        ask(serving(Authority(tmp_path / "forged", "authority")))
    assert not caught.value.retryable
    assert "hush" not in str(caught.value)


def test_a_certificate_of_another_host(ask: Ask, authority: Authority) -> None:
    with pytest.raises(RegistryNotTrusted, match=r"(?s)IP address mismatch.*ANALYTICS_REGISTRY_URL"):
        ask(serving(authority, host="192.0.2.1"))


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_registry_that_wants_our_certificate(
    ask: Ask, authority: Authority, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    context = serving(authority)
    context.maximum_version = newest
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.certificate)
    certificate, key = authority.signs("us", password=HUSH)
    ours = {"certificate_location": certificate, "key_location": key, "key_password": Secret(HUSH)}
    assert ask(context, **ours).text == "text"
    with pytest.raises(RegistryRefused, match="ANALYTICS_REGISTRY_CERTIFICATE_LOCATION"):
        ask(context)
    (tmp_path / "else").mkdir()
    certificate, key = Authority(tmp_path / "else", "somebody").signs("us")
    with pytest.raises(RegistryRefused, match="ANALYTICS_REGISTRY_CERTIFICATE_LOCATION"):
        ask(context, certificate_location=certificate, key_location=key)


def test_files_that_cannot_be_read(ask: Ask, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.signs("us", password=HUSH)
    ours = {"certificate_location": certificate, "key_location": key}
    for settings in (
        {"ca_location": tmp_path / "nowhere.pem"},
        {"ca_location": key},
        {"key_location": key},
        ours,
        {**ours, "key_password": Secret("hush")},
    ):
        with pytest.raises(RegistryRefused, match="ANALYTICS_REGISTRY_CA_LOCATION, _CERTIFICATE_LOCATION") as caught:
            ask(serving(authority), **settings)
        assert "hush" not in str(caught.value)
