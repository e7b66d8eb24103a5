"""Who answers a lookup."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from analytics_platform.lookup.answer import Answer, Key, Unavailable


class Source(Protocol):
    """Is asked by several threads at once, which may wait for ever."""

    most: int
    """Keys that one question may have."""

    def ask(self, keys: Sequence[Key]) -> Mapping[Key, Answer] | Unavailable:
        """The answer to each key; Unavailable where there is none to any, which counts against the service."""

    def close(self) -> None:
        """Let go of connections; nothing is asked any more."""
