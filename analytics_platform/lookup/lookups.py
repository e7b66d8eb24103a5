"""All lookups of a deployment, for as long as a burst lasts."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from analytics_platform.lookup.answer import Answer, Key, Unavailable
from analytics_platform.lookup.counts import Counts
from analytics_platform.lookup.function import FunctionSource
from analytics_platform.lookup.read_through import ReadThrough
from analytics_platform.lookup.source import Source
from analytics_platform.lookup.web import WebSource
from analytics_platform.lookup_settings import LookupSettings

_NOT_SET = Unavailable("not set")


class Lookups:
    """What outside services say of keys; nothing is kept between two of these.

    Never raises for what a service does, and never waits longer than it may: what is not known then is `Unavailable`.
    """

    def __init__(self, settings: Iterable[LookupSettings], clock: Callable[[], float] = time.monotonic) -> None:
        """Ask nobody yet.

        Args:
            settings: One for each lookup.
            clock: Seconds that never go back; what was found ages by it.
        """
        self._lookups = {one.name: ReadThrough(one, _source(one), clock) for one in settings}
        self._not_set: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of all connections; what hangs is left to end by itself, and no process waits for it."""
        for lookup in self._lookups.values():
            lookup.close()

    def ask(self, name: str, keys: Iterable[Key]) -> Mapping[Key, Answer]:
        """The answer to each distinct key, within the lookup's `wait`.

        Args:
            name: Of the lookup; one that is not set has no answers, like one that is down.
            keys: Of a micro-batch. Repeated ones are asked for once; a key with a null is not found.
        """
        if name in self._lookups:
            return self._lookups[name].ask(keys)
        answers: dict[Key, Answer] = dict.fromkeys(keys, _NOT_SET)
        self._not_set[name] += len(answers)
        return answers

    def counts(self) -> dict[str, Counts]:
        """How each lookup fared since this was last called; those that were not asked and did not fail are left out."""
        found = {name: lookup.counts() for name, lookup in self._lookups.items()}
        for name, keys in self._not_set.items():
            found[name] = Counts(asked=keys, misses=keys, unavailable=keys)
        self._not_set.clear()
        return {name: counts for name, counts in sorted(found.items()) if counts != Counts()}


def _source(settings: LookupSettings) -> Source:
    if settings.function is not None:
        return FunctionSource(settings.function, settings.answer_bytes)
    return WebSource(settings)
