"""The order in which a replay sends its events, with honest trouble mixed in and counted.

Duplicates and broken records come on top of the real events and late ones are moved, so whatever trouble is asked for,
every real event is sent once under its own identity and the answers stay those of the events alone.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, cycle
from random import Random
from typing import NamedTuple, TypeVar

from analytics_platform.contract.reason import Reason
from analytics_platform.demo.events import Event, Headers
from analytics_platform.demo.fault import FAULTS, Fault, Kind

LATEST_US = 6 * 3600 * 1_000_000
"""No event is sent later than this after its turn, in event time."""
NEAR_EVENTS = 200
"""A near duplicate follows its event by at most so many events."""
FAR_SHARE = 0.2
"""This share of the duplicates is drawn from everything sent so far; the others are near."""
REMEMBERED_EVENTS = 4096
"""The uniform sample from which far duplicates are drawn: about 4 MB."""

REAL = frozenset({Kind.ON_TIME, Kind.LATE})
DUPLICATES = frozenset({Kind.DUPLICATE, Kind.FAR_DUPLICATE})

T = TypeVar("T", bound=str | tuple[str, Reason])


@dataclass(frozen=True, slots=True)
class Shares:
    """How much trouble, as shares (0..1) of the real events; an event meets at most one of them."""

    duplicates: float = 0.02
    late: float = 0.01
    malformed: float = 0.005
    contract_breakers: float = 0.005
    unknown_versions: float = 0.0005
    unknown_types: float = 0.0005

    def __post_init__(self) -> None:
        """Refuse what are not shares of one whole."""
        shares = (
            self.duplicates,
            self.late,
            self.malformed,
            self.contract_breakers,
            self.unknown_versions,
            self.unknown_types,
        )
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(f"shares of trouble must not be negative nor add up to more than 1, found {self}")


class Sent(NamedTuple):
    """One record to send, and what it is."""

    topic: str
    key: bytes
    value: bytes | None
    """None is a tombstone."""
    headers: Headers
    kind: Kind
    occurred_at_us: int
    """Event time of the event it is or was made of, microseconds since 1970 in UTC: what paces a replay."""
    fault: Fault | None = None

    @property
    def reason(self) -> Reason | None:
        """The only code with which it must end in quarantine; None for what belongs into silver or is a duplicate."""
        return None if self.fault is None else self.fault.reason


class Counts:
    """What was sent, kind by kind; whoever sends calls `add` for every record."""

    def __init__(self) -> None:
        """Nothing was sent."""
        self._counter: Counter[tuple[str, Kind, Fault | None]] = Counter()

    def add(self, sent: Sent) -> None:
        """Count one record."""
        self._counter[sent.topic, sent.kind, sent.fault] += 1

    @property
    def sent(self) -> int:
        """All records."""
        return self._counter.total()

    @property
    def by_topic(self) -> dict[str, int]:
        """All records of each topic: the offsets a reader will see."""
        return self._sums((topic, count) for (topic, _, _), count in self._counter.items())

    @property
    def by_kind(self) -> dict[Kind, int]:
        """Every kind, also those that did not occur."""
        found = self._sums((kind, count) for (_, kind, _), count in self._counter.items())
        return {kind: found.get(kind, 0) for kind in Kind}

    @property
    def by_fault(self) -> dict[str, int]:
        """Every fault sent, by its name."""
        return self._sums((fault.name, count) for (_, _, fault), count in self._counter.items() if fault)

    @property
    def real(self) -> dict[str, int]:
        """Per topic, the rows silver must keep."""
        return self._sums((topic, count) for (topic, kind, _), count in self._counter.items() if kind in REAL)

    @property
    def duplicates(self) -> dict[str, int]:
        """Per topic, the records that silver must recognise as copies."""
        return self._sums((topic, count) for (topic, kind, _), count in self._counter.items() if kind in DUPLICATES)

    @property
    def quarantined(self) -> dict[tuple[str, Reason], int]:
        """Per topic and reason, the rows quarantine must hold; each has this one code."""
        return self._sums(((topic, fault.reason), count) for (topic, _, fault), count in self._counter.items() if fault)

    @staticmethod
    def _sums(pairs: Iterable[tuple[T, int]]) -> dict[T, int]:
        sums: Counter[T] = Counter()
        for name, count in pairs:
            sums[name] += count
        return dict(sorted(sums.items()))


def send_order(events: Iterable[Event], seed: int, shares: Shares = Shares()) -> Iterator[Sent]:
    """Every event once, most in event order, and the trouble between them.

    The same events, seed and shares give the same records.
    Memory is that of the sample for far duplicates and of the late events of six hours, however long the replay.

    Args:
        events: In event order.
        seed: Of the trouble.
        shares: How much trouble.
    """
    return _Replay(Random(seed), shares).records(events)  # noqa: S311 — reproducible is what it must be


class _Replay:
    def __init__(self, random: Random, shares: Shares) -> None:
        self._random = random
        self._late: list[tuple[int, int, Event]] = []
        """Heap of (event time at which it is due, position, event)."""
        self._copies: list[tuple[int, int, Event]] = []
        """Heap of (position after which it is due, position of the original, event)."""
        self._sample: list[Event] = []
        self._sampled_from = 0
        kinds = (
            Kind.DUPLICATE,
            Kind.LATE,
            Kind.MALFORMED,
            Kind.CONTRACT_BREAKER,
            Kind.UNKNOWN_VERSION,
            Kind.UNKNOWN_TYPE,
        )
        bounds = accumulate(
            (
                shares.duplicates,
                shares.late,
                shares.malformed,
                shares.contract_breakers,
                shares.unknown_versions,
                shares.unknown_types,
            )
        )
        self._bounds = tuple(zip(bounds, kinds, strict=True))
        # In turn rather than drawn, so that also a short replay has every fault.
        self._faults = {kind: cycle(faults) for kind, faults in FAULTS.items()}

    def records(self, events: Iterable[Event]) -> Iterator[Sent]:
        whole, bounds, random = self._bounds[-1][0], self._bounds, self._random.random
        for position, event in enumerate(events):
            yield from self._due(event.occurred_at_us, position)
            drawn = random()
            kind = None if drawn >= whole else next(kind for bound, kind in bounds if drawn < bound)
            if kind is Kind.LATE:
                due_us = event.occurred_at_us + self._random.randint(1, LATEST_US)
                heapq.heappush(self._late, (due_us, position, event))
                continue
            yield self._real(event, Kind.ON_TIME)
            if kind is Kind.DUPLICATE:
                if random() < FAR_SHARE:
                    yield self._far_copy()
                else:
                    due = position + self._random.randint(1, NEAR_EVENTS)
                    heapq.heappush(self._copies, (due, position, event))
            elif kind is not None:
                yield self._broken(event, kind)
        yield from self._due(None, None)

    def _due(self, now_us: int | None, position: int | None) -> Iterator[Sent]:
        """What waited for this moment; None is the end, when everything is due."""
        while self._late and (now_us is None or self._late[0][0] <= now_us):
            yield self._real(heapq.heappop(self._late)[2], Kind.LATE)
        while self._copies and (position is None or self._copies[0][0] <= position):
            yield _sent(heapq.heappop(self._copies)[2], Kind.DUPLICATE)

    def _real(self, event: Event, kind: Kind) -> Sent:
        # Algorithm R (Vitter 1985): every event so far is in the sample with the same chance.
        self._sampled_from += 1
        if len(self._sample) < REMEMBERED_EVENTS:
            self._sample.append(event)
        elif (place := int(self._random.random() * self._sampled_from)) < REMEMBERED_EVENTS:
            self._sample[place] = event
        return _sent(event, kind)

    def _far_copy(self) -> Sent:
        """A copy by a producer that started over: the same event, hence the same key, under a trace of its own.

        Only the trace's digits change, so what the producers' helper has checked holds.
        """
        event = self._random.choice(self._sample)
        at = event.value.index(b'"trace_id":"') + len(b'"trace_id":"')
        trace = f"{self._random.getrandbits(128):032x}".encode()
        return _sent(
            event._replace(value=event.value[:at] + trace + event.value[at + len(trace) :]), Kind.FAR_DUPLICATE
        )

    def _broken(self, event: Event, kind: Kind) -> Sent:
        fault = next(self._faults[kind])
        return Sent(
            event.topic, event.key, fault.make(event, self._random), event.headers, kind, event.occurred_at_us, fault
        )


def _sent(event: Event, kind: Kind) -> Sent:
    return Sent(event.topic, event.key, event.value, event.headers, kind, event.occurred_at_us)
