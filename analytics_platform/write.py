"""Events as the business sees them, written as records and checked as the platform will check them. No broker needed."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any

import msgspec
import polars as pl

from analytics_platform import duck
from analytics_platform.contract.acceptance import Refusal, header_lists, refusals
from analytics_platform.contract.compose import Composed, Composer
from analytics_platform.contract.compose_frame import ENVELOPE_TYPES, ComposedFrame, FrameComposer, readable
from analytics_platform.contract.encode import Encoder, NotEncodable
from analytics_platform.contract.model import Catalog, EventContract
from analytics_platform.contract.record_key import joined, joined_column
from analytics_platform.contract.registered import registered_schema
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat
from analytics_platform.kafka.produce import Record
from analytics_platform.outgoing import Event, Fault, Ready, ReadyRows
from analytics_platform.settings import Settings

NO_KEY_FIELDS: Mapping[str, Sequence[str]] = MappingProxyType({})

_BEFORE_ANY_END = datetime(2000, 1, 1, tzinfo=UTC)
_AS_THEY_ARE = (datetime, date, bytes, bytearray, memoryview)


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
            for contract in domain.produced:
                self._versions.setdefault(contract.name, []).append(contract)
                # What they say is judged as JSON, and then written as it is declared.
                self._of_topic[contract.topic] = tuple(
                    replace(one, wire=WireFormat.JSON) for one in domain.events_of(contract.topic)
                )
        self._encoders: dict[str, Encoder] = {}
        self._composers: dict[str, Composer] = {}
        self._frame_composers: dict[str, FrameComposer] = {}
        self._connection = duck.confined(threads=1)  # row rules are SQL from contracts

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def prepared(self, events: Iterable[Event]) -> tuple[list[Ready], list[Fault]]:
        """Write and check events: those that may be sent, and what is wrong with the others, both in their order."""
        faults: dict[int, Fault] = {}
        written: dict[int, tuple[Event, EventContract, Composed, Record]] = {}
        for place, event in enumerate(events):
            contract = self._contract(event.event_type, event.version)
            if isinstance(contract, str):
                faults[place] = Fault(place, event.event_type, (contract,))
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

    def prepared_frame(
        self, event_type: str, events: pl.DataFrame, *, version: str | None = None
    ) -> tuple[ReadyRows, list[Fault]]:
        """Write and check the events of one type, a column at a time: what `prepared` makes of them, row by row.

        Args:
            event_type: The contract's name.
            events: Columns of the payload, and of `occurred_at`, `source`, `trace_id` and `idempotency_key` those that
                `Event` would be given. Their types are those of the contract's tables; narrower numbers and other time
                zones will do. A column that the contract does not have, or not of this type, is a fault of every row.
            version: See `Event`.
        """
        contract = self._contract(event_type, version)
        if isinstance(contract, str):
            return ReadyRows("", [], [], []), _alike(events.height, event_type, (contract,))
        composer = self._frame_composers.get(contract.label)
        if composer is None:
            composer = self._frame_composers[contract.label] = FrameComposer(contract, structured=self._structured)
        typed = composer.typed(events)
        if isinstance(typed, list):
            return ReadyRows(contract.topic, [], [], []), _alike(events.height, event_type, typed)
        if self._source is not None:
            said = pl.col("source").fill_null(self._source) if "source" in typed.columns else pl.lit(self._source)
            typed = typed.with_columns(said.alias("source"))
        made = composer.composed(typed, self._connection)
        ready, faults = self._accepted(contract, typed, made)
        doubts = pl.int_range(typed.height, dtype=pl.UInt32, eager=True)
        doubts = doubts.filter(~doubts.is_in(made.places.implode()))
        if not doubts.is_empty():
            each, wrong = self._one_by_one(event_type, version, readable(typed, doubts))
            ready += [(doubts[place], one.idempotency_key, one.record) for place, one in each]
            faults += [replace(one, place=doubts[one.place]) for one in wrong]
            ready.sort(key=itemgetter(0))
        faults.sort(key=attrgetter("place"))
        places, keys, records = zip(*ready, strict=True) if ready else ((), (), ())
        return ReadyRows(contract.topic, places, keys, records), faults

    def _accepted(
        self, contract: EventContract, events: pl.DataFrame, made: ComposedFrame
    ) -> tuple[list[tuple[int, str, Record]], list[Fault]]:
        """Place, idempotency key and record of what may be sent, and what is wrong with the others."""
        names = self._key_fields.get(contract.name)
        keys = made.keys.cast(pl.Binary) if names is None else joined_column(events[made.places], names)
        refused = self._refused(made.places, [contract] * len(keys), keys, made.values, made.headers)
        faults = {place: Fault(place, contract.name, *refusal) for place, refusal in refused.items()}
        ready = []
        columns = [one.to_list() for one in (made.places, made.keys, keys, made.values)]
        for place, said, key, value, headers in zip(*columns, made.headers, strict=True):
            if place in faults:
                continue
            try:
                ready.append((place, said or "", self._framed(contract, Record(key, value, headers))))
            except NotEncodable as error:
                faults[place] = Fault(place, contract.name, (str(error),))
        return ready, list(faults.values())

    def _one_by_one(
        self, event_type: str, version: str | None, rows: Iterable[Mapping[str, Any]]
    ) -> tuple[list[tuple[int, Ready]], list[Fault]]:
        """The rows that are ready, each with its number, and what is wrong with the others."""
        events = []
        for row in rows:
            payload = {name: value for name, value in row.items() if name not in ENVELOPE_TYPES}
            events.append(
                Event(
                    event_type,
                    payload,
                    row.get("occurred_at"),
                    row.get("source"),
                    row.get("trace_id"),
                    version=version,
                    idempotency_key=row.get("idempotency_key"),
                )
            )
        ready, faults = self.prepared(events)
        wrong = {one.place for one in faults}
        return list(zip((place for place in range(len(events)) if place not in wrong), ready, strict=True)), faults

    def _unwritable(self, contract: EventContract) -> str | None:
        if contract.wire is WireFormat.JSON:
            return None
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

    def _contract(self, event_type: str, version: str | None) -> EventContract | str:
        """The contract by which events are written, or why none is."""
        versions = self._versions.get(event_type)
        if versions is None:
            return f"no contract of this name; there are {', '.join(sorted(self._versions)) or 'none'}"
        if version is None:
            active = [one for one in versions if one.header.status == "active"]
            found = max(active or versions, key=lambda one: one.order)
        else:
            known = {one.header.version: one for one in versions}
            if version not in known:
                return f"no contract of version {version}; known: {', '.join(known)}"
            found = known[version]
        return self._unwritable(found) or found

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
        return joined(payload, fields)

    def _judged(self, written: Mapping[int, tuple[Event, EventContract, Composed, Record]]) -> Mapping[int, Refusal]:
        """What is wrong with records that have been written, by place."""
        judged = {place: one for place, one in written.items() if one[2].value}
        contracts, records = [one[1] for one in judged.values()], [one[3] for one in judged.values()]
        return self._refused(
            pl.Series(list(judged), dtype=pl.UInt32),
            contracts,
            pl.Series([record.key for record in records], dtype=pl.Binary),
            pl.Series([record.value for record in records], dtype=pl.Binary),
            [record.headers for record in records],
        )

    def _refused(
        self,
        places: pl.Series,
        contracts: Sequence[EventContract],
        keys: pl.Series,
        values: pl.Series,
        headers: Sequence[Sequence[tuple[str, bytes | None]]],
    ) -> Mapping[int, Refusal]:
        if places.is_empty():
            return {}
        written = pl.DataFrame(
            {
                "place": places,
                "topic": [one.topic for one in contracts],
                "label": [one.label for one in contracts],
                "key": keys,
                "value": values,
                "headers": header_lists(headers),
            }
        )
        topics = sorted({one.topic for one in contracts})
        return refusals(
            written,
            [one for topic in topics for one in self._of_topic[topic]],
            max_value_bytes=self._max_value_bytes,
            now=_BEFORE_ANY_END if self._clock is None else self._clock(),
            connection=self._connection,
        )


def _alike(height: int, event_type: str, reasons: Sequence[str]) -> list[Fault]:
    return [Fault(place, event_type, tuple(reasons)) for place in range(height)]


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
