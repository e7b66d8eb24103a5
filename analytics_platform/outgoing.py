"""Events on their way out: as the business sees them, as records that may be sent, and what is wrong with others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from analytics_platform.kafka.produce import Record

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Payload = Mapping[str, Any] | DataclassInstance


@dataclass(frozen=True, slots=True)
class Event:
    """One event as the business sees it; the envelope is made of it."""

    event_type: str
    """The contract's name."""
    payload: "Payload"
    """A mapping by field name, or a dataclass. Timestamps are aware datetimes, or RFC 3339 text."""
    occurred_at: datetime | None = None
    """Aware. None only where the contract takes it from a field of the payload."""
    source: str | None = None
    """None is the producer's own."""
    trace_id: str | None = None
    traceparent: str | None = None
    """Of W3C Trace Context, instead of `trace_id`."""
    version: str | None = None
    """Of the contract it is written by; None is the newest that is active, or the newest of all."""
    idempotency_key: str | None = None
    """Only for contracts that trust the producer's key; elsewhere it is derived, whatever stands here."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An event that may be sent."""

    event: Event
    idempotency_key: str
    topic: str
    record: Record


@dataclass(frozen=True, slots=True)
class ReadyRows:
    """The rows of a frame that may be sent, in their order; the lists are equally long."""

    topic: str
    places: Sequence[int]
    """Which row of the frame each is, from 0."""
    idempotency_keys: Sequence[str]
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one event. Its text names places and rules, and never holds a value."""

    place: int
    """Which event of the call, from 0."""
    event_type: str
    reasons: tuple[str, ...]
    """Each begins with the field's path, as in `items[].quantity: missing`."""
    codes: tuple[str, ...] = ()
    """With which the platform would quarantine it (docs/quarantine.md); empty where only a producer can go wrong."""

    def __str__(self) -> str:
        """`event 3 (order_placed): cents: missing; …`."""
        return f"event {self.place} ({self.event_type}): {'; '.join(self.reasons)}"
