"""One lookup: its cache, its questions at work and its circuit breaker."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from analytics_platform.lookup.address import is_askable
from analytics_platform.lookup.answer import LATE, NOT_FOUND, Answer, Found, Key, Unavailable
from analytics_platform.lookup.cache import Cache
from analytics_platform.lookup.circuit import Circuit
from analytics_platform.lookup.counts import Counts
from analytics_platform.lookup.source import Source
from analytics_platform.lookup_settings import LookupSettings

_TIMEOUT = Unavailable("timeout")
_OPEN = Unavailable("breaker open")
_BUSY = Unavailable("questions given up still run")
_SILENT = Unavailable("no answer to this key")

_stuck: Counter[str] = Counter()
"""Threads of this process that were given up, by lookup: burst after burst leaves some behind, and they must stay few."""
_stuck_lock = threading.Lock()


@dataclass(eq=False, slots=True)
class _Flight:
    """A key that is being asked for, by whomever: all who want it wait for this."""

    answer: Answer | None = None


@dataclass(eq=False, slots=True)
class _Question:
    """What a source is asked at once."""

    flights: dict[Key, _Flight]
    until: float
    """Nobody waits longer for it to begin."""
    since: float = 0.0
    """When it began."""


class ReadThrough:
    """Answers of the cache, and of the source where the cache has none. For any number of threads.

    Nothing can interrupt a function or a resolver that hangs, so questions are left to threads of their own, at most
    `concurrency`; one that took too long is given up, and its thread counts until it ends, for whoever asks in this
    process. Where all have been given up, nobody waits any more.
    """

    def __init__(self, settings: LookupSettings, source: Source, clock: Callable[[], float]) -> None:
        """Ask nothing yet; `clock` gives seconds that never go back."""
        self._name, self._source, self._clock = settings.name, source, clock
        self._most = settings.concurrency
        self._timeout_s, self._wait_s = settings.timeout.total_seconds(), settings.wait.total_seconds()
        self._cache = Cache(settings.ttl, settings.negative_ttl, settings.stale, settings.entries)
        self._circuit = Circuit(settings.breaker_failures, settings.breaker_pause)
        self._changed = threading.Condition()
        self._flying: dict[Key, _Flight] = {}
        self._queue: deque[_Question] = deque()
        self._at_work: set[_Question] = set()
        self._given_up: set[_Question] = set()
        self._threads, self._closed = 0, False
        self._counted: Counter[str] = Counter()
        self._why: Counter[str] = Counter()

    def ask(self, keys: Iterable[Key]) -> dict[Key, Answer]:
        """The answer to each distinct key, within `wait`."""
        with self._changed:
            now = self._clock()
            until = now + self._wait_s
            answers: dict[Key, Answer] = {}
            flights: dict[Key, _Flight] = {}
            new: dict[Key, _Flight] = {}
            for key in dict.fromkeys(keys):
                answer = self._known(key, now)
                if answer is not None:
                    answers[key] = answer
                elif key in self._flying:
                    flights[key] = self._flying[key]
                else:
                    flights[key] = new[key] = _Flight()
            self._flying.update(new)
            self._line_up(new, until)
            self._await(flights.values(), until)
            now = self._clock()
            for key, flight in flights.items():
                answers[key] = self._landed(key, flight.answer or LATE, now)
            self._counted["asked"] += len(answers)
            self._counted["misses"] += len(flights)
            return answers

    def counts(self) -> Counts:
        """How it fared since this was last called."""
        with self._changed:
            found = Counts(**self._counted, opened=self._circuit.opened, why=dict(self._why))
            self._counted.clear()
            self._why.clear()
            self._circuit.opened = 0
            return found

    def close(self) -> None:
        """Ask nothing any more; the source is closed now, or when its last question ends."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._settle_queue(LATE)
            for question in list(self._at_work):
                self._leave(question)
                self._settle(question, LATE)
            if not self._threads:
                self._source.close()

    def _known(self, key: Key, now: float) -> Answer | None:
        """What can be said without asking."""
        if not is_askable(key):
            self._counted["unaskable"] += 1
            return NOT_FOUND
        answer = self._cache.fresh(key, now)
        if answer is not None:
            self._counted["hits" if isinstance(answer, Found) else "negative_hits"] += 1
        return answer

    def _landed(self, key: Key, answer: Answer, now: float) -> Answer:
        """What is told of a key that was asked for."""
        if not isinstance(answer, Unavailable):
            return answer
        stale = self._cache.stale(key, now)
        self._counted["unavailable" if stale is None else "stale"] += 1
        return stale or answer

    def _line_up(self, new: Mapping[Key, _Flight], until: float) -> None:
        """Queue questions for keys, and start threads for them."""
        keys = list(new)
        for start in range(0, len(keys), self._source.most):
            some = keys[start : start + self._source.most]
            self._queue.append(_Question({key: new[key] for key in some}, until))
        if self._closed or self._circuit.refuses(self._clock()):
            return
        with _stuck_lock:
            free = self._most - _stuck[self._name] - (self._threads - len(self._given_up))
        for _ in range(min(len(self._queue), free)):
            try:
                threading.Thread(target=self._work, name=f"lookup {self._name}", daemon=True).start()
            except RuntimeError:  # the machine has no more
                return
            self._threads += 1

    def _await(self, flights: Iterable[_Flight], until: float) -> None:
        """Wait until all have landed, or for as long as anybody may."""
        for flight in flights:
            while flight.answer is None:
                now = self._clock()
                self._give_up(now)
                if flight.answer is not None:
                    break
                if now >= until:
                    self._settle_queue(LATE, now)
                    return
                self._changed.wait(min([until, *(one.since + self._timeout_s for one in self._at_work)]) - now)

    def _give_up(self, now: float) -> None:
        """Wait no more for what took too long, nor for what nobody will begin."""
        for question in [one for one in self._at_work if now >= one.since + self._timeout_s]:
            self._leave(question)
            self._fail(question, _TIMEOUT, now)
        if self._queue and self._circuit.refuses(now):
            self._settle_queue(_OPEN)
        elif self._queue and self._threads <= len(self._given_up):
            self._settle_queue(_BUSY)

    def _work(self) -> None:
        """Ask what is queued, until nothing is."""
        while (question := self._next()) is not None:
            answers: Mapping[Key, Answer] | Unavailable
            try:
                answers = self._source.ask(list(question.flights))
            except BaseException as error:  # noqa: BLE001 - somebody else's code; its text may hold a key
                answers = Unavailable(type(error).__name__)
            with self._changed:
                self._land(question, answers)
                self._changed.notify_all()

    def _next(self) -> _Question | None:
        """The next question, which begins now; None ends a thread."""
        with self._changed:
            while self._queue:
                if self._circuit.probing:
                    self._changed.wait()  # for the end of the one question, or of those who wait
                    continue
                question, now = self._queue.popleft(), self._clock()
                if now >= question.until:
                    self._settle(question, LATE)
                elif not self._circuit.admits(now):
                    self._settle(question, _OPEN)
                else:
                    question.since = now
                    self._at_work.add(question)
                    self._changed.notify_all()  # who waits must wake up when this is given up
                    return question
            self._threads -= 1
            if self._closed and not self._threads:
                self._source.close()
            return None

    def _leave(self, question: _Question) -> None:
        """Give a question up; its thread is stuck until it ends."""
        self._at_work.remove(question)
        self._given_up.add(question)
        with _stuck_lock:
            _stuck[self._name] += 1

    def _land(self, question: _Question, answers: Mapping[Key, Answer] | Unavailable) -> None:
        now = self._clock()
        self._give_up(now)
        in_time = question in self._at_work
        if in_time:
            self._at_work.remove(question)
        else:
            self._given_up.remove(question)
            with _stuck_lock:
                _stuck[self._name] -= 1
        if isinstance(answers, Unavailable):
            if in_time:
                self._fail(question, answers, now)
            return
        if in_time:
            self._circuit.succeeded()
        for key in question.flights:
            answer = answers.get(key, _SILENT)
            if not isinstance(answer, Unavailable):
                self._cache.put(key, answer, question.since)  # even if it is late: others will ask
        self._settle(question, answers)

    def _fail(self, question: _Question, why: Unavailable, now: float) -> None:
        """A whole question failed: it is asked again by halves, until the keys to blame are alone.

        Whoever sends events could else take the answers of all others away with a key that a function fails on.
        """
        self._counted["failures"] += 1
        self._why[why.why] += 1
        self._circuit.failed(now)
        items = list(question.flights.items())
        if len(items) == 1 or why is _TIMEOUT or now >= question.until or self._closed or self._circuit.refuses(now):
            self._settle(question, why)
            return
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            self._queue.append(_Question(dict(half), question.until))

    def _settle_queue(self, why: Unavailable, now: float | None = None) -> None:
        """Let those wait no more whose questions did not begin; all of them, or those that nobody waits for."""
        queued = list(self._queue)
        self._queue.clear()
        for question in queued:
            if now is None or now >= question.until:
                self._settle(question, why)
            else:
                self._queue.append(question)

    def _settle(self, question: _Question, answers: Mapping[Key, Answer] | Unavailable) -> None:
        for key, flight in question.flights.items():
            if flight.answer is None:
                flight.answer = answers if isinstance(answers, Unavailable) else answers.get(key, _SILENT)
            if self._flying.get(key) is flight:
                del self._flying[key]
        self._changed.notify_all()
