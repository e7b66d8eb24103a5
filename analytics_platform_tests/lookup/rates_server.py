"""A service over HTTP that really listens: answers, and fails in every way that services have."""

import json
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Service:
    """Knows the rates of a few currencies under `/rates/<currency>`."""

    rates: dict[str, Any] = field(default_factory=lambda: {"EUR": {"rate": 1.1}, "CHF": {"rate": 0.9}})
    fails: str | None = None
    """A number is that status; `text` is no JSON, `list` no object, `huge` never ends, `gzip` is compressed, `redirect`
    points at an address that it knows. `mute` answers once `released` is set; `head` and `body` trickle until it is."""
    released: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    """Targets of requests as they came."""
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.server = _Server(self)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/rates/{{0}}"

    def stop(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, service: Service) -> None:
        super().__init__(("127.0.0.1", service.port), _Handler)
        self.service = service
        if service.tls is not None:
            self.socket = service.tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError):  # whoever asked may leave before the answer
            super().finish_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        service = self.server.service
        service.asked.append(self.path)
        service.headers.append(dict(self.headers))
        match service.fails:
            case "mute":
                service.released.wait()
            case "head":
                self.trickle(b"HTTP/1.1 200 OK\r\nX-Padding: ")
                return
            case "body":
                self.trickle(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n ")
                return
            case "huge":
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while not service.released.is_set():
                    self.wfile.write(b" " * 65536)
                return
        self.answer(service)

    def answer(self, service: Service) -> None:
        known = service.rates.get(self.path.removeprefix("/rates/").partition("?")[0])
        body = b"{}" if known is None else json.dumps(known).encode()
        body = {"text": b"<html>", "list": b"[1]"}.get(service.fails or "", body)
        status = 404 if known is None else 200
        if service.fails == "redirect":
            status = 302
        elif service.fails is not None and service.fails.isdigit():
            status = int(service.fails)
        self.send_response(status)
        if service.fails == "redirect":
            self.send_header("Location", "/rates/CHF")
        if service.fails == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def trickle(self, head: bytes) -> None:
        self.close_connection = True
        self.wfile.write(head)
        while not self.server.service.released.wait(0.01):
            self.wfile.write(b" ")

    def log_message(self, *_arguments: object) -> None:
        pass
