"""For the teams that produce events: written, checked and sent as their contracts say.

    with Producer(settings, catalog, source="/shop/checkout") as producer:
        producer.send("order_placed", {"order_id": "O-001", …}, occurred_at=now, trace_id=trace)

An event that does not fit its contract raises before anything of it is sent: it is decoded and checked by the very
functions by which the platform will judge it. See docs/producers.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

import polars as pl

from analytics_platform.contract.model import Catalog, EventContract
from analytics_platform.errors import InvalidEvents, SchemaNotPublished
from analytics_platform.kafka.frame import RegisteredSchema
from analytics_platform.kafka.produce import Sender
from analytics_platform.outgoing import Event, Fault, Ready, ReadyRows
from analytics_platform.publish import subject_of
from analytics_platform.settings import Settings
from analytics_platform.write import NO_KEY_FIELDS, Writer

if TYPE_CHECKING:
    from analytics_platform.outgoing import Payload

__all__ = ["Delivery", "Event", "Fault", "Producer", "Ready", "ReadyRows", "Writer"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one event that was handed over."""

    event: Event
    idempotency_key: str
    topic: str
    error: str | None
    """None when the broker has it."""


class Producer:
    """A connection to the cluster that sends nothing but valid events. For one thread at a time.

    Leaving the `with` block waits until the broker has everything.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        *,
        source: str | None = None,
        structured: bool = False,
        key_fields: Mapping[str, Sequence[str]] = NO_KEY_FIELDS,
        on_delivery: Callable[[Delivery], None] | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Ask nothing of the cluster yet.

        Args:
            settings: Say where the cluster and the schema registry are, and how long a value may be.
            catalog: See `Writer`, as for `source`, `structured`, `key_fields` and `clock`.
            source: The envelope's `source` of events that name none.
            structured: Write CloudEvents in structured mode, not in binary.
            key_fields: By event type the fields that make the record's Kafka key.
            clock: Says what time it is, so that versions that have ended are refused.
            on_delivery: Called for every event, from within a later call, once the broker has it or will never have it;
                not for rows of frames, which are no events each.
        """
        self._writer = Writer(
            catalog,
            source=source,
            structured=structured,
            key_fields=key_fields,
            max_value_bytes=settings.max_value_bytes,
            clock=clock,
            schema_ids=None if settings.registry.url is None else self._schema_id,
        )
        self._catalog, self._registry = catalog, settings.registry
        self._sender = Sender(settings.kafka)
        self._on_delivery = on_delivery

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was sent; an error of the block comes before one of the delivery."""
        try:
            if kind is None:
                self.flush()
            else:
                self._sender.close()
        finally:
            self._writer.close()

    def send(
        self,
        event_type: str,
        payload: "Payload",
        *,
        occurred_at: datetime | None = None,
        source: str | None = None,
        trace_id: str | None = None,
        traceparent: str | None = None,
        version: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Check one event and hand it over; the arguments are those of `Event`.

        A check costs tens of milliseconds, whether of one event or of a hundred: `send_all` is for many.

        Returns:
            Its idempotency key.

        Raises:
            InvalidEvents: it does not fit its contract; it was not sent.
            UnknownTopic, BrokerUnavailable, AccessDenied: the cluster cannot be asked for the topic.
        """
        event = Event(event_type, payload, occurred_at, source, trace_id, traceparent, version, idempotency_key)
        return self.send_all([event])[0]

    def send_all(self, events: Iterable[Event]) -> list[str]:
        """Check many events together and hand them over in their order, all or none; a few thousand are a good batch.

        Returns:
            Their idempotency keys.

        Raises:
            InvalidEvents: some do not fit their contracts; none was sent.
            UnknownTopic, BrokerUnavailable, AccessDenied: the cluster cannot be asked for a topic; none was sent.
            RegistryError: the registry cannot say by which schema an event is written; none was sent.
        """
        ready, faults = self._writer.prepared(events)
        if faults:
            raise InvalidEvents(faults)
        for topic in sorted({one.topic for one in ready}):
            self._sender.know(topic)
        for one in ready:
            self._sender.put(one.topic, one.record, reported=self._reporter(one))
        return [one.idempotency_key for one in ready]

    def send_frame(self, event_type: str, events: pl.DataFrame, *, version: str | None = None) -> list[str]:
        """Check the rows of a frame and hand them over in their order, all or none; see `Writer.prepared_frame`.

        Several times as fast as `send_all`, by the same checks; some ten thousand rows are a good batch.

        Returns:
            Their idempotency keys.

        Raises:
            InvalidEvents: some do not fit their contract; none was sent.
            UnknownTopic, BrokerUnavailable, AccessDenied: the cluster cannot be asked for the topic; none was sent.
            RegistryError: the registry cannot say by which schema they are written; none was sent.
        """
        ready, faults = self._writer.prepared_frame(event_type, events, version=version)
        if faults:
            raise InvalidEvents(faults)
        if ready.records:
            self._sender.know(ready.topic)
        for record in ready.records:
            self._sender.put(ready.topic, record)
        return list(ready.idempotency_keys)

    def flush(self) -> int:
        """Wait until the broker has everything that was handed over since the last time.

        Durable on return: every such event stands in Kafka, as far as the topic's own settings go.
        If it dies halfway: any of them may be there; sent again they are the same events, since their keys are derived.

        Returns:
            How many events that were.

        Raises:
            NotDelivered: some did not arrive.
        """
        return self._sender.flush()

    def _schema_id(self, contract: EventContract, schema: RegisteredSchema) -> int:
        """The id of a contract's schema, asked of the registry."""
        from analytics_platform.kafka.registry import Registry  # noqa: PLC0415 - costs a second, and most need none

        subject = subject_of(self._catalog.domains[contract.header.domain], contract)
        registry = Registry(self._registry)
        try:
            found = registry.lookup(subject, schema)
        finally:
            registry.close()
        if found is None:
            raise SchemaNotPublished(contract.label, subject)
        return found

    def _reporter(self, ready: Ready) -> Callable[[str | None], None] | None:
        if self._on_delivery is None:
            return None
        tell = self._on_delivery
        return lambda error: tell(Delivery(ready.event, ready.idempotency_key, ready.topic, error))
