"""Answers that hold for a while."""

from collections import OrderedDict
from dataclasses import replace
from datetime import timedelta

from analytics_platform.lookup.answer import Found, Key, NotFound


class Cache:
    """The answers of one lookup, the most recently used. For one thread at a time.

    Not cachetools': its TTLCache forgets what has expired, which is what serves while a service is down.
    """

    def __init__(self, ttl: timedelta, negative_ttl: timedelta, stale: timedelta, entries: int) -> None:
        """Hold nothing yet; times and `entries` as in `LookupSettings`."""
        self._ttl_s, self._negative_ttl_s = ttl.total_seconds(), negative_ttl.total_seconds()
        self._stale_s = self._ttl_s + stale.total_seconds()
        self._most = entries
        self._answers: OrderedDict[Key, tuple[Found | NotFound, float]] = OrderedDict()

    def __len__(self) -> int:
        """How many answers are held, those that have expired among them."""
        return len(self._answers)

    def fresh(self, key: Key, now: float) -> Found | NotFound | None:
        """The answer to a key, younger than its time to live."""
        held = self._answers.get(key)
        if held is None:
            return None
        answer, since = held
        if now - since >= (self._ttl_s if isinstance(answer, Found) else self._negative_ttl_s):
            return None
        self._answers.move_to_end(key)
        return answer

    def stale(self, key: Key, now: float) -> Found | None:
        """What was once found for a key, to serve while the service does not answer."""
        answer, since = self._answers.get(key, (None, 0.0))
        if not isinstance(answer, Found) or now - since >= self._stale_s:
            return None
        self._answers.move_to_end(key)
        return replace(answer, stale=True)

    def put(self, key: Key, answer: Found | NotFound, since: float) -> None:
        """Hold an answer unless a younger one is held; the one longest unused makes room.

        Args:
            key: Whose answer.
            answer: From the service.
            since: When it was asked: what it says held then or later.
        """
        held = self._answers.get(key)
        if held is not None and held[1] > since:
            return
        self._answers[key] = (answer, since)
        self._answers.move_to_end(key)
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)
