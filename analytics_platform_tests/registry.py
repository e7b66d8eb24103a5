"""A schema registry over HTTP that really listens: what Confluent's API says of schemas and subjects, and its failures."""

import base64
import json
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid5

_SPACE = UUID(int=0)


@dataclass
class StandIn:
    """Keeps what is registered, and fails as told."""

    fails: str | None = None
    """`down` closes connections, `html` answers as a proxy would, a number is that status. `mute` answers once
    `released` is set, `trickle` sends a byte of an endless header now and then until it is."""
    released: threading.Event = field(default_factory=threading.Event)
    login: str | None = None
    """The header Authorization that it wants."""
    has_guids: bool = True
    """Apicurio Registry has none: it answers with 404 and nothing else."""
    refuses: str | None = None
    """Why it takes no schema."""
    asked: list[str] = field(default_factory=list)
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.server = _Server(self)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def register(self, text: str, kind: str = "AVRO", subject: str = "s", references: Any = ()) -> int:
        """Keep a schema; returns its id."""
        body = {"schema": text, "schemaType": kind, "references": list(references)}
        known = next((number for number, one in self.schemas.items() if one == body), None)
        number = known or len(self.schemas) + 1
        self.schemas[number] = body
        if number not in self.subjects.setdefault(subject, []):
            self.subjects[subject].append(number)
        return number

    @staticmethod
    def guid(number: int) -> str:
        return str(uuid5(_SPACE, str(number)))

    def failure(self, authorization: str | None) -> tuple[int, Any] | None:
        if self.login is not None and authorization != self.login:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        if self.fails == "html":
            return 404, "<html>no such page</html>"
        return (
            None
            if self.fails in {None, "mute"}
            else (int(self.fails), {"error_code": int(self.fails), "message": "broken"})
        )

    def found(self, method: str, path: str, body: Any) -> tuple[int, Any]:  # noqa: C901, PLR0911 - a table of addresses
        match [method, *path.strip("/").split("/")]:
            case ["GET", "schemas", "ids", number] if int(number) >= 2**31:
                return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
            case ["GET", "schemas", "ids", number]:
                found = self.schemas.get(int(number))
                return (404, _none(40403)) if found is None else (200, found)
            case ["GET", "schemas", "guids", _] if not self.has_guids:
                return 404, ""
            case ["GET", "schemas", "types"]:
                return 200, ["JSON", "PROTOBUF", "AVRO"]
            case ["GET", "schemas", "guids", guid]:
                return next(
                    ((200, one) for n, one in self.schemas.items() if self.guid(n) == guid), (404, _none(40403))
                )
            case ["GET", "subjects"]:
                return 200, sorted(self.subjects)
            case ["GET", "subjects", subject, "versions", version]:
                return self.version(subject, version)
            case ["POST", "subjects", subject]:
                return self.lookup(subject, body)
            case ["POST", "subjects", subject, "versions"]:
                if self.refuses is not None:
                    return 409, {"error_code": 409, "message": self.refuses}
                number = self.register(
                    body["schema"], body.get("schemaType", "AVRO"), subject, body.get("references", ())
                )
                return 200, {"id": number}
            case ["GET", "config", subject]:
                level = self.levels.get(subject)
                return (404, _none(40408)) if level is None else (200, {"compatibilityLevel": level})
            case ["PUT", "config", subject]:
                self.levels[subject] = body["compatibility"]
                return 200, body
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def version(self, subject: str, version: str) -> tuple[int, Any]:
        numbers = self.subjects.get(subject)
        if not numbers:
            return 404, _none(40401)
        place = len(numbers) if version == "latest" else int(version)
        if place > len(numbers):
            return 404, _none(40402)
        return 200, self._registered(subject, place)

    def lookup(self, subject: str, body: Any) -> tuple[int, Any]:
        for place, number in enumerate(self.subjects.get(subject, []), start=1):
            if self.schemas[number]["schema"] == body["schema"]:
                return 200, self._registered(subject, place)
        return 404, _none(40403 if subject in self.subjects else 40401)

    def _registered(self, subject: str, place: int) -> dict[str, Any]:
        number = self.subjects[subject][place - 1]
        return {"subject": subject, "version": place, "id": number, **self.schemas[number]}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stand_in = stand_in
        if stand_in.tls is not None:
            self.socket = stand_in.tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError):  # whoever asked may leave before the answer
            if isinstance(request, ssl.SSLSocket) and not self.agreed(request):
                return
            super().finish_request(request, client_address)

    @staticmethod
    def agreed(request: ssl.SSLSocket) -> bool:
        """Whether both sides trust each other."""
        try:
            request.do_handshake()
        except ssl.SSLError:
            # Read on, below TLS: closed with bytes unread, a connection is reset before its alert arrives.
            while socket.socket.recv(request, 65536):
                pass
            return False
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def answer(self, method: str) -> None:
        stand_in = self.server.stand_in
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = unquote(urlsplit(self.path).path)
        stand_in.asked.append(f"{method} {path}")
        match stand_in.fails:
            case "down":
                self.close_connection = True
                self.connection.close()
                return
            case "trickle":
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Padding: ")
                while not stand_in.released.wait(0.01):
                    self.wfile.write(b".")
                return
            case "mute":
                stand_in.released.wait()
        status, found = stand_in.failure(self.headers.get("Authorization")) or stand_in.found(method, path, body)
        content = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(found, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


def _none(code: int) -> dict[str, Any]:
    return {"error_code": code, "message": "not found"}


def basic(user: str, password: str) -> str:
    """The header Authorization of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
