"""What lookups cost a micro-batch: `python -m benchmarks.lookup [records]`, about half a minute.

The events of `benchmarks.decode`, each asked for a key of 100, 1,000 and 10,000 distinct ones; the cost stands beside
that of decoding and checking the same records, which every micro-batch has without a lookup too.
Cold, a function or a service on this machine answers at once: what is left is ours.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.check import check
from analytics_platform.contract.decode import decode
from analytics_platform.lookup.answer import Found, Key
from analytics_platform.lookup.lookups import Lookups
from analytics_platform.lookup_settings import LookupSettings
from analytics_platform.variable import Secret
from benchmarks.decode import ORDER, best, bronze, events

BODY = json.dumps({"rate": 1.1, "since": "2026-11-24"}).encode()
PATIENT = {"timeout": timedelta(seconds=60), "wait": timedelta(seconds=60)}


def rates(keys: Sequence[tuple[Any, ...]]) -> Mapping[tuple[Any, ...], Mapping[str, Any]]:
    """A function that knows every key."""
    return {key: {"rate": 1.1, "since": "2026-11-24"} for key in keys}


class Service(BaseHTTPRequestHandler):
    """A service that knows every key."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY))

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def service() -> Iterator[str]:
    """The address of a service."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{{0}}"
    server.shutdown()
    server.server_close()


def ask(lookups: Lookups, frame: pl.DataFrame) -> None:
    """Ask for the distinct keys of a frame, as a micro-batch does."""
    keys: list[Key] = frame.unique().rows()
    answers = lookups.ask("rate", keys)
    if not all(isinstance(answer, Found) for answer in answers.values()):
        raise SystemExit("not all keys were answered")


def ask_anew(settings: LookupSettings, frame: pl.DataFrame) -> None:
    """The same with an empty cache."""
    with Lookups([settings]) as lookups:
        ask(lookups, frame)


def main() -> None:
    """Print seconds of each, and how many times what a micro-batch costs anyway that is."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    records = bronze(events(count))
    with duck.connect(threads=len(os.sched_getaffinity(0))) as connection:
        rows = decode(records, [ORDER], connection=connection).rows["order_placed"]
        base, _ = best(
            lambda: check(decode(records, [ORDER], connection=connection).rows["order_placed"], ORDER),
        )
    print(f"{count:,} records: decode and check {base:.3f} s")

    def tell(what: str, work: Callable[[], object]) -> None:
        seconds, _ = best(work)
        print(f"{what:40}: {seconds:7.4f} s, {1 + seconds / base:5.3f} times as much in all")

    with service() as url:
        web = LookupSettings("rate", Secret(url), **PATIENT)
        function = LookupSettings("rate", function="benchmarks.lookup:rates", **PATIENT)
        for distinct in (100, 1_000, 10_000):
            frame = rows.select(key=pl.int_range(pl.len()) % distinct)
            with Lookups([function]) as lookups:
                ask(lookups, frame)
                tell(f"{distinct:6,} keys, all in the cache", partial(ask, lookups, frame))
            tell(f"{distinct:6,} keys, asked of a function", partial(ask_anew, function, frame))
            tell(f"{distinct:6,} keys, asked over HTTP", partial(ask_anew, web, frame))


if __name__ == "__main__":
    main()
