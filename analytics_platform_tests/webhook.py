"""A server that really listens, for alerts."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Webhook:
    """Keeps what it is sent, and answers as told."""

    def __init__(self) -> None:
        self.answer, self.got = 204, list[tuple[str, Any]]()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.got.append((self.headers["Content-Type"], json.loads(body)))
                self.send_response(webhook.answer)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/s3cret"
