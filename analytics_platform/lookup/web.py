"""Lookups that a service answers over HTTP/1.1 (RFC 9110, RFC 9112)."""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import httpcore2

from analytics_platform.lookup.address import Address
from analytics_platform.lookup.answer import NOT_FOUND, Answer, Key, Unavailable, answer_of
from analytics_platform.lookup_settings import LookupSettings

logging.getLogger("httpcore2").setLevel(
    logging.INFO
)  # below, it tells headers, where servers repeat what they were asked

_ABOUT_THE_SERVICE = {401, 403, 407, 408, 429}
"""Of the statuses below 500, those that no key is to blame for. The others count not against the service: whoever sends
events chooses keys, and could have it left alone by sending a few that it refuses."""
_IDLE_S = 15.0
"""So long a connection is kept for the next question."""


class WebSource:
    """One GET for each key. Speaks to one host only: no redirects, proxies, cookies or `.netrc`."""

    most = 1

    def __init__(self, settings: LookupSettings) -> None:
        """Connect to nobody yet; `settings.url` is set."""
        self._address = Address(str.__str__(settings.url or ""))
        self._timeout_s, self._most_bytes = settings.timeout.total_seconds(), settings.answer_bytes
        self._ca = settings.ca_location
        self._headers = [(b"Host", _host(self._address)), (b"Accept", b"application/json")]
        self._headers.append((b"Accept-Encoding", b"identity"))  # what is sent is as long as what it says
        if settings.header is not None:
            name, _, value = str.__str__(settings.header).partition(": ")
            self._headers.append((name.encode("ascii"), value.encode("ascii")))
        self._network = _Network()
        self._pool: httpcore2.ConnectionPool | None = None
        self._opening = threading.Lock()
        self._concurrency = settings.concurrency

    def ask(self, keys: Sequence[Key]) -> Mapping[Key, Answer] | Unavailable:
        """The answers: a JSON object, or none where the status is 404 or 410."""
        answers: dict[Key, Answer] = {}
        for key in keys:
            if len(key) != self._address.parts:
                answers[key] = Unavailable(f"address has {self._address.parts} places, key has {len(key)}")
                continue
            target = self._address.target(key)
            answer = NOT_FOUND if target is None else self._get(target)
            if isinstance(answer, _Failed):
                return Unavailable(answer.why)
            answers[key] = answer
        return answers

    def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            self._pool.close()

    def _get(self, target: bytes) -> "Answer | _Failed":
        self._network.begin(self._timeout_s)
        url = httpcore2.URL(
            scheme=self._address.scheme, host=self._address.host, port=self._address.port, target=target
        )
        try:
            pool = self._opened()
        except OSError as error:
            return _Failed(f"CA_LOCATION cannot be read: {type(error).__name__}")
        try:
            with pool.stream(
                "GET", url, headers=self._headers, extensions={"timeout": {"pool": self._timeout_s}}
            ) as response:
                return self._answer(response)
        except (httpcore2.TimeoutException, TimeoutError):
            return _Failed("timeout")
        except httpcore2.ConnectError as error:
            refused = _tls_error(error)
            if isinstance(refused, ssl.SSLCertVerificationError):
                return _Failed(f"TLS: {refused.verify_message}")
            return _Failed("cannot connect" if refused is None else f"TLS: {refused.reason or 'failed'}")

    def _answer(self, response: httpcore2.Response) -> "Answer | _Failed":
        if response.status in {404, 410}:
            return NOT_FOUND
        if response.status != 200:
            why = f"HTTP {response.status}"
            of_the_key = 400 <= response.status < 500 and response.status not in _ABOUT_THE_SERVICE
            return Unavailable(why) if of_the_key else _Failed(why)
        if any(
            name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in response.headers
        ):
            return _Failed("answer is compressed")
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > self._most_bytes:
                break  # the connection is closed with the rest unread
        return answer_of(bytes(body), self._most_bytes)

    def _opened(self) -> httpcore2.ConnectionPool:
        """The connections, made when they are first needed: a file that cannot be read is one lookup's trouble alone."""
        with self._opening:
            if self._pool is None:
                trust = ssl.create_default_context(cafile=self._ca) if self._ca else httpcore2.default_ssl_context()
                self._pool = httpcore2.ConnectionPool(
                    ssl_context=trust,
                    max_connections=self._concurrency,
                    keepalive_expiry=_IDLE_S,
                    network_backend=self._network,
                )
            return self._pool


class _Failed:
    """Why a whole question failed."""

    def __init__(self, why: str) -> None:
        self.why = why


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _host(address: Address) -> bytes:
    """The header Host."""
    host = b"[%b]" % address.host if b":" in address.host else address.host
    return host if address.port is None else b"%b:%d" % (host, address.port)


class _Network(httpcore2.NetworkBackend):
    """The network until a deadline, which each thread sets for itself.

    HTTP clients have timeouts for each read, not for an answer: one that trickles in would never end.
    """

    def __init__(self) -> None:
        self._inner, self._own = httpcore2.SyncBackend(), threading.local()

    def begin(self, seconds: float) -> None:
        """From now on this thread has so long."""
        self._own.until = time.monotonic() + seconds

    def left(self) -> float:
        """What is left of it, in seconds.

        Raises:
            TimeoutError: nothing.
        """
        left: float = self._own.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - ours counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection."""
        return _Stream(self._inner.connect_tcp(host, port, self.left(), local_address, socket_options), self.left)


class _Stream(httpcore2.NetworkStream):
    """A connection until its user's deadline."""

    def __init__(self, inner: httpcore2.NetworkStream, left: Callable[[], float]) -> None:
        self._inner, self._left = inner, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - ours counts
        return self._inner.read(max_bytes, self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - ours counts
        self._inner.write(buffer, self._left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - ours counts
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._left()), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
