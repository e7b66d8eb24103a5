"""Real connections to a real server, on the good days and on all others."""

import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from analytics_platform.lookup.answer import NOT_FOUND, Answer, Found, Key, Unavailable
from analytics_platform.lookup.web import WebSource
from analytics_platform.lookup_settings import LookupSettings
from analytics_platform.variable import Secret
from analytics_platform_tests.certificates import Authority
from analytics_platform_tests.lookup.rates_server import Service
from analytics_platform_tests.port import free_port

EUR: Key = ("EUR",)


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.stop()


def asked(url: str, key: Key = EUR, **changes: Any) -> Answer:
    """What one question gets: the answer to the key, or to all."""
    source = WebSource(LookupSettings("rate", Secret(url), **({"timeout": timedelta(seconds=30)} | changes)))
    try:
        answers = source.ask([key])
        return answers if isinstance(answers, Unavailable) else answers[key]
    finally:
        source.close()


def test_what_is_found_and_what_is_not(service: Service) -> None:
    assert asked(service.url) == Found({"rate": 1.1})
    assert asked(service.url, ("XXX",)) == NOT_FOUND
    service.fails = "410"
    assert asked(service.url) == NOT_FOUND


def test_what_is_sent(service: Service) -> None:
    assert asked(service.url, header=Secret("X-Api-Key: hush hush")) == Found({"rate": 1.1})
    assert service.asked == ["/rates/EUR"]
    assert service.headers == [
        {
            "Host": f"127.0.0.1:{service.port}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "X-Api-Key": "hush hush",
        }
    ]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("a\r\nHost: evil\r\n\r\nGET /admin", "/rates/a%0D%0AHost%3A%20evil%0D%0A%0D%0AGET%20%2Fadmin"),
        ("EUR?x=1#y", "/rates/EUR%3Fx%3D1%23y"),
        ("%2e%2e", "/rates/%252e%252e"),
        ("\0é", "/rates/%00%C3%A9"),
        ("@evil.example:80", "/rates/%40evil.example%3A80"),
    ],
)
def test_a_hostile_key_stays_in_its_place(service: Service, text: str, target: str) -> None:
    assert asked(service.url, (text,)) == NOT_FOUND
    assert service.asked == [target]


def test_a_key_that_walks_is_not_sent(service: Service) -> None:
    assert asked(service.url, ("../admin",)) == NOT_FOUND
    assert service.asked == []


def test_a_key_of_another_length(service: Service) -> None:
    assert asked(service.url, ("EUR", 7)) == Unavailable("address has 1 places, key has 2")


@pytest.mark.parametrize(
    ("fails", "why"),
    [
        ("500", "HTTP 500"),
        ("401", "HTTP 401"),
        ("429", "HTTP 429"),
        ("400", "HTTP 400"),
        ("204", "HTTP 204"),
        ("redirect", "HTTP 302"),
        ("text", "answer is no JSON"),
        ("list", "answer is no JSON object"),
        ("gzip", "answer is compressed"),
        ("huge", "answer too long"),
    ],
)
def test_answers_that_are_none(service: Service, fails: str, why: str) -> None:
    service.fails = fails
    assert asked(service.url) == Unavailable(why)
    assert service.asked == ["/rates/EUR"]


@pytest.mark.parametrize(
    ("fails", "whole"), [("400", False), ("414", False), ("huge", False), ("403", True), ("503", True)]
)
def test_what_counts_against_the_service_is_nothing_that_a_key_can_bring_about(
    service: Service, fails: str, whole: bool
) -> None:
    service.fails = fails
    source = WebSource(LookupSettings("rate", Secret(service.url), timeout=timedelta(seconds=30)))
    assert isinstance(source.ask([EUR]), Unavailable) is whole
    source.close()


@pytest.mark.parametrize("fails", ["mute", "head", "body"])
def test_an_answer_that_never_ends_is_given_up(service: Service, fails: str) -> None:
    service.fails = fails
    # A byte comes every hundredth of a second, so no single read takes long.
    assert asked(service.url, timeout=timedelta(seconds=0.2), answer_bytes=10**9) == Unavailable("timeout")


def test_a_service_that_is_stopped() -> None:
    assert asked(f"http://127.0.0.1:{free_port()}/{{0}}") == Unavailable("cannot connect")


def test_a_service_that_takes_connections_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{{0}}"
        assert asked(url, timeout=timedelta(seconds=0.1)) == Unavailable("timeout")


def test_connections_are_kept(service: Service) -> None:
    source = WebSource(LookupSettings("rate", Secret(service.url), timeout=timedelta(seconds=30)))
    assert source.ask([EUR, ("XXX",), ("CHF",)]) == {
        EUR: Found({"rate": 1.1}),
        ("XXX",): NOT_FOUND,
        ("CHF",): Found({"rate": 0.9}),
    }
    assert source._pool is not None
    assert len(source._pool.connections) == 1
    source.close()


def test_no_proxy_is_asked(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert asked(service.url) == Found({"rate": 1.1})


def test_certificates_are_checked(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.signs("service"))
    service = Service(tls=context)
    try:
        assert asked(service.url, ca_location=authority.certificate) == Found({"rate": 1.1})
        said = asked(service.url)
        assert isinstance(said, Unavailable)
        assert said.why.startswith("TLS: ")
        other_host = service.url.replace("127.0.0.1", "localhost")
        said = asked(other_host, ca_location=authority.certificate)
        assert isinstance(said, Unavailable)
        assert said.why.startswith("TLS: Hostname mismatch")
        assert asked(service.url, ca_location=tmp_path / "none.pem") == Unavailable(
            "CA_LOCATION cannot be read: FileNotFoundError"
        )
        assert len(service.asked) == 1
    finally:
        service.stop()
