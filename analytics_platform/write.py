"""Events as the business sees them, written as records and checked as the platform will check them. No broker needed."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pyarrow as pa

from analytics_platform import duck
from analytics_platform.contract.check import check
from analytics_platform.contract.compose import Composed, Composer
from analytics_platform.contract.decode import decode
from analytics_platform.contract.encode import Encoder, NotEncodable
from analytics_platform.contract.model import Catalog, EventContract
from analytics_platform.contract.registered import registered_schema
from analytics_platform.contract.schema import BRONZE_SCHEMA
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat
from analytics_platform.kafka.produce import Record
from analytics_platform.settings import Settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Payload = Mapping[str, Any] | DataclassInstance

NO_KEY_FIELDS: Mapping[str, Sequence[str]] = MappingProxyType({})

_HEADERS = pa.list_(pa.struct([("name", pa.large_string()), ("value", pa.large_binary())]))
_BEFORE_ANY_END = datetime(2000, 1, 1, tzinfo=UTC)
_AS_THEY_ARE = (datetime, date, bytes, bytearray, memoryview)


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


class Writer:
    """Makes records of events, without a broker. For one thread at a time."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        source: str | None = None,
        structured: bool = False,
        key_fields: Mapping[str, Sequence[str]] = NO_KEY_FIELDS,
        max_value_bytes: int = Settings().max_value_bytes,
        clock: Callable[[], datetime] | None = None,
        schema_ids: Callable[[EventContract, RegisteredSchema], int] | None = None,
    ) -> None:
        """Open a DuckDB connection, which `close` closes.

        Args:
            catalog: The contracts.
            source: The envelope's `source` of events that name none.
            structured: Write CloudEvents in structured mode, not in binary.
            key_fields: By event type the fields whose values, joined by `-`, are the record's Kafka key. Other events
                have their idempotency key as Kafka key, so that copies of an event share a partition.
            max_value_bytes: What the platform takes.
            clock: Says what time it is, so that versions that have ended are refused as the platform refuses them;
                without one they are written.
            schema_ids: The id under which a registry has the schema of a contract that declares a framed wire format,
                asked once for each; without it such events are faults.
        """
        self._source, self._structured, self._key_fields = source, structured, key_fields
        self._max_value_bytes, self._clock, self._schema_ids = max_value_bytes, clock, schema_ids
        self._versions: dict[str, list[EventContract]] = {}
        self._of_topic: dict[str, tuple[EventContract, ...]] = {}
        for domain in catalog.domains.values():
            for contract in domain.events:
                self._versions.setdefault(contract.name, []).append(contract)
                # What they say is judged as JSON, and then written as it is declared.
                self._of_topic[contract.topic] = tuple(
                    replace(one, wire=WireFormat.JSON) for one in domain.events_of(contract.topic)
                )
        self._encoders: dict[str, Encoder] = {}
        self._composers: dict[str, Composer] = {}
        self._connection = duck.confined(threads=1)  # row rules are SQL from contracts

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def prepared(self, events: Iterable[Event]) -> tuple[list[Ready], list[Fault]]:
        """Write and check events: those that may be sent, and what is wrong with the others, both in their order."""
        faults: dict[int, Fault] = {}
        written: dict[int, tuple[Event, EventContract, Composed, Record]] = {}
        for place, event in enumerate(events):
            contract = self._contract(event)
            if isinstance(contract, str):
                faults[place] = Fault(place, event.event_type, (contract,))
                continue
            if contract.wire is not WireFormat.JSON and (why := self._unwritable(contract)):
                faults[place] = Fault(place, event.event_type, (why,))
                continue
            payload = _mapping(event.payload)
            if isinstance(payload, str):
                faults[place] = Fault(place, event.event_type, (payload,))
                continue
            made = self._composed(event, contract, payload)
            if made.faults:
                faults[place] = Fault(place, event.event_type, made.faults)
            key = self._kafka_key(contract, payload, made)
            written[place] = event, contract, made, Record(key, made.value, made.headers)
        for place, (reasons, codes) in self._judged(written).items():
            before = faults[place].reasons if place in faults else ()
            faults[place] = Fault(place, written[place][0].event_type, (*before, *reasons), codes)
        ready = []
        for place, (event, contract, made, record) in written.items():
            if place in faults:
                continue
            try:
                framed = self._framed(contract, record)
            except NotEncodable as error:
                faults[place] = Fault(place, event.event_type, (str(error),))
                continue
            ready.append(Ready(event, made.key or "", contract.topic, framed))
        return ready, [faults[place] for place in sorted(faults)]

    def _unwritable(self, contract: EventContract) -> str | None:
        if self._schema_ids is None:
            return f"comes in {contract.wire}, and no registry was named that has its schema"
        if self._structured and contract.cloudevents is not None:
            return f"comes in {contract.wire}, which CloudEvents in structured mode are not"
        return None

    def _framed(self, contract: EventContract, record: Record) -> Record:
        """The record as its contract says it is written; a header that says JSON would be untrue then."""
        if contract.wire is WireFormat.JSON or record.value is None or self._schema_ids is None:
            return record
        encoder = self._encoders.get(contract.label)
        if encoder is None:
            schema = registered_schema(contract, self._versions[contract.name])
            encoder = Encoder(contract, schema, self._schema_ids(contract, schema))
            self._encoders[contract.label] = encoder
        headers = tuple(item for item in record.headers if item[0] != "content-type")
        return replace(record, value=encoder.encoded(record.value), headers=headers)

    def _contract(self, event: Event) -> EventContract | str:
        versions = self._versions.get(event.event_type)
        if versions is None:
            return f"no contract of this name; there are {', '.join(sorted(self._versions)) or 'none'}"
        if event.version is None:
            active = [one for one in versions if one.header.status == "active"]
            return max(active or versions, key=lambda one: one.order)
        known = {one.header.version: one for one in versions}
        return known.get(event.version, f"no contract of version {event.version}; known: {', '.join(known)}")

    def _composed(self, event: Event, contract: EventContract, payload: Mapping[str, object]) -> Composed:
        composer = self._composers.get(contract.label)
        if composer is None:
            composer = self._composers[contract.label] = Composer(contract, structured=self._structured)
        return composer.composed(
            payload,
            occurred_at=event.occurred_at,
            source=event.source if event.source is not None else self._source,
            trace_id=event.trace_id,
            traceparent=event.traceparent,
            key=event.idempotency_key,
        )

    def _kafka_key(self, contract: EventContract, payload: Mapping[str, object], made: Composed) -> bytes | None:
        fields = self._key_fields.get(contract.name)
        if fields is None:
            return None if made.key is None else made.key.encode()
        return "-".join(str(payload.get(name, "")) for name in fields).encode(errors="replace")

    def _judged(
        self, written: Mapping[int, tuple[Event, EventContract, Composed, Record]]
    ) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
        """Reasons and codes with which the platform would quarantine records, by place."""
        judged = {place: one for place, one in written.items() if one[2].value}
        if not judged:
            return {}
        records = self._records(judged)
        topics = set(records["topic"].unique())
        contracts = [one for topic in sorted(topics) for one in self._of_topic[topic]]
        by_label = {one.label: one for one in contracts}
        decoded = decode(records, contracts, connection=self._connection)
        rejected = [decoded.rejected]
        found: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        for rows in decoded.rows.values():
            for (label,), part in rows.partition_by("_contract", maintain_order=True, as_dict=True).items():
                rejected.append(check(part, by_label[str(label)], connection=self._connection).rejected)
                for place in part["_offset"]:
                    if written[place][1].label != label:
                        found[place] = ((f"would be read by {label}, not by {written[place][1].label}",), ())
        for place, reasons, codes in pl.concat(rejected).select("offset", "reasons", "codes").iter_rows():
            found[place] = tuple(reasons), tuple(codes)
        return found

    def _records(self, written: Mapping[int, tuple[Event, EventContract, Composed, Record]]) -> pl.DataFrame:
        """The records as bronze would hold them, each place as its offset."""
        now = _BEFORE_ANY_END if self._clock is None else self._clock()
        each = [(place, contract.topic, record) for place, (_, contract, _, record) in written.items()]
        headers = [[{"name": name, "value": value} for name, value in record.headers] for _, _, record in each]
        # Through Arrow: polars takes several times as long to make a column of lists from Python's.
        listed = pl.Series(pa.array(headers, _HEADERS), dtype=BRONZE_SCHEMA["headers"])
        columns = {
            "topic": [topic for _, topic, _ in each],
            "topic_id": [""] * len(each),
            "partition": [0] * len(each),
            "offset": [place for place, _, _ in each],
            "kafka_timestamp": [None] * len(each),
            "key": [record.key for _, _, record in each],
            "value": [(record.value or b"")[: self._max_value_bytes] for _, _, record in each],
            "value_bytes": [len(record.value or b"") for _, _, record in each],
            "headers": listed,
            "ingested_at": [now] * len(each),
        }
        return pl.DataFrame(columns, schema={name: BRONZE_SCHEMA[name] for name in columns})


def _mapping(payload: object) -> Mapping[str, object] | str:
    """A payload by field name, or what is wrong with it."""
    if dataclasses.is_dataclass(payload) and not isinstance(payload, type):
        try:
            payload = msgspec.to_builtins(payload, builtin_types=_AS_THEY_ARE)
        except (TypeError, ValueError) as error:
            return f"cannot be written as JSON: {type(error).__name__}"
    if not isinstance(payload, Mapping):
        return "the payload is neither a mapping nor a dataclass"
    return payload
