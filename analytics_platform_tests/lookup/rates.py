"""A clock that is set, and a source that says when it was asked."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from analytics_platform.lookup.answer import NOT_FOUND, Answer, Found, Key, Unavailable
from analytics_platform.lookup.read_through import ReadThrough
from analytics_platform.lookup_settings import LookupSettings


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Rates:
    """Knows every key but those that begin with `X`; what is known is when it was asked."""

    clock: Callable[[], float]
    most: int = 1
    down: bool = False
    hangs: bool = False
    """Until `released`."""
    poison: Key = ()
    """A question with it is an error."""
    asked: list[list[Key]] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    released: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def ask(self, keys: Sequence[Key]) -> Mapping[Key, Answer] | Unavailable:
        self.asked.append(list(keys))
        at = self.clock()
        self.begun.release()
        if self.hangs:
            self.released.wait()
        if self.poison in keys:
            raise ZeroDivisionError
        if self.down:
            return Unavailable("down")
        return {key: NOT_FOUND if str(key[0]).startswith("X") else Found({"at": at}) for key in keys}

    def close(self) -> None:
        assert not self.closed.is_set()
        self.closed.set()


def lookup(**changes: Any) -> LookupSettings:
    """Settings in which all times are far longer than a test, and as many threads as one can follow."""
    names = {"timeout": 600, "wait": 600, "ttl": 100, "negative_ttl": 10, "stale": 1000, "breaker_pause": 30}
    times = {name: timedelta(seconds=changes.pop(name, length)) for name, length in names.items()}
    return LookupSettings("rate", **({"function": "a:b", "concurrency": 1, "breaker_failures": 3} | times | changes))


def settle(found: ReadThrough) -> None:
    """Wait until no question is on its way, whether or not it was given up."""
    with found._changed:
        assert found._changed.wait_for(lambda: not found._at_work and not found._given_up, 60)


@contextmanager
def opened(settings: LookupSettings, source: Any, clock: Callable[[], float]) -> Iterator[ReadThrough]:
    """A lookup whose threads have ended afterwards."""
    found = ReadThrough(settings, source, clock)
    try:
        yield found
    finally:
        found.close()
        source.released.set()
        for thread in threading.enumerate():
            if thread.name == "lookup rate":
                thread.join()
