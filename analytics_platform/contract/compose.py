"""An event written as its contract says: what `decode` reads, made.

Value and headers of a record come from the fields of a contract and the places they have in it, so whatever style a
contract declares, this writes it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from analytics_platform.contract.cloudevents import BINARY, SPECVERSION, STRUCTURED, reading
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.model import ENVELOPE, EventContract, Field, KeyMode
from analytics_platform.contract.place import Form, Place, Spot
from analytics_platform.contract.wire import place_of

_JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class Composed:
    """What a record holds. `faults` is what no reader could find out, as sentences without values."""

    key: str | None
    """The idempotency key; None where it cannot be derived."""
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """What every record of a contract has, and where what differs is put."""

    about: Mapping[str, str]
    """Members of the value beside the fields."""
    headers: tuple[tuple[str, bytes], ...]
    payload_in: str | None
    """The member that holds the payload; None where it stands beside the envelope."""
    places: tuple[tuple[str, Place], ...]
    """Each field of the envelope and its place."""
    payload: tuple[Field, ...]


def layout(contract: EventContract, *, structured: bool) -> Layout:
    """Of a contract's records. `structured`: for CloudEvents, which are written in binary mode otherwise."""
    read, about = contract, dict[str, str]()
    headers: tuple[tuple[str, bytes], ...] = (("content-type", _JSON),)
    if contract.cloudevents is not None:
        read = reading(contract, STRUCTURED if structured else BINARY)
        if structured:
            about = {"specversion": SPECVERSION}
            headers = (("content-type", b"application/cloudevents+json"),)
        else:
            headers = (("ce_specversion", SPECVERSION.encode()), *headers)
    return Layout(
        about=about,
        headers=headers,
        payload_in=read.payload_in,
        places=tuple((name, place_of(read, name)) for name in ENVELOPE),
        payload=tuple(field for field in contract.fields if field.name not in ENVELOPE),
    )


class Composer:
    """Writes the events of one contract, one at a time."""

    def __init__(self, contract: EventContract, *, structured: bool = False) -> None:
        """`structured`: see `layout`."""
        self._contract, self._layout = contract, layout(contract, structured=structured)

    def composed(
        self,
        payload: Mapping[str, object],
        *,
        occurred_at: datetime | None,
        source: str | None,
        trace_id: str | None,
        traceparent: str | None,
        key: str | None,
    ) -> Composed:
        """Write one event; what is left out is left out, and for the check to miss.

        Args:
            payload: By field name; nothing that JSON cannot say.
            occurred_at: Aware.
            source: Who sends it.
            trace_id: Or
            traceparent: of W3C; each is made of the other where the contract wants the other.
            key: The idempotency key, where it is not to be derived.
        """
        faults = list(_strays(payload, self._layout.payload, ""))
        key = key if self._contract.identity.mode is KeyMode.TRUST and key is not None else self._derived(payload)
        said = {
            "idempotency_key": key,
            "event_type": self._contract.sent_as,
            "schema_version": self._contract.header.version,
            "trace_id": trace_id or (traceparent[3:35] if traceparent else None),
            "occurred_at": occurred_at,
            "source": source,
        }
        value: dict[str, object] = dict(self._layout.about)
        body = value if self._layout.payload_in is None else {}
        body.update(payload)
        headers = list(self._layout.headers)
        for name, place in self._layout.places:
            text = said[name]
            if text is None:
                continue
            if place.form is Form.TRACEPARENT:
                text = traceparent or f"00-{trace_id}-{_span(key)}-00"
            elif place.form is Form.URI:
                text = version_uri(self._contract, str(text))
            for spot in place.spots:
                if spot.header:
                    headers.append((spot.name, _text(text).encode()))
                else:
                    _put(body if spot.data else value, spot, name, text, faults)
        if self._layout.payload_in is not None:
            value[self._layout.payload_in] = body
        try:
            return Composed(key, msgspec.json.encode(value), tuple(headers), tuple(faults))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            why = str(error) if isinstance(error, TypeError) else type(error).__name__  # others may quote a value
            return Composed(key, b"", (), (*faults, f"cannot be written as JSON: {why}"))

    def _derived(self, payload: Mapping[str, object]) -> str | None:
        if not self._contract.identity.by:
            return None
        try:
            return idempotency_key(self._contract, payload)
        except ValueError:
            return None  # the check names what is wrong with the identifier


def _put(into: dict[str, object], spot: Spot, name: str, value: object, faults: list[str]) -> None:
    there = into.setdefault(spot.name, value)
    if there is not value and msgspec.to_builtins(there) != msgspec.to_builtins(value):
        faults.append(f"{spot.name}: {name} comes from here, and is another one")


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(msgspec.to_builtins(value))


def _span(key: str | None) -> str:
    """A parent id for an event of which only the trace is known: the same for the same event, and never of zeros."""
    return f"{(key or '').encode().hex():0<15.15}1"


def version_uri(contract: EventContract, version: str) -> str:
    """A contract's version as a `dataschema`."""
    return f"{contract.header.id}{':' if contract.header.id.startswith('urn:') else '/'}{version}"


def _strays(values: Mapping[Any, Any], fields: tuple[Field, ...], path: str) -> Iterator[str]:
    """What the platform would pass over or see as something else: unknown fields, numbers that JSON does not have."""
    known = {field.name: field for field in fields}
    for name, value in values.items():
        field = known.get(name)
        if field is None:
            yield f"{path}{name}: not a field of the contract"
        else:
            yield from _stray(value, field, f"{path}{name}")


def _stray(value: Any, field: Field, path: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: JSON has no such number"
    elif isinstance(value, bytes | bytearray | memoryview):
        yield f"{path}: bytes are no {field.type}"
    elif isinstance(value, Mapping):
        yield from _strays(value, field.fields, f"{path}.")
    elif isinstance(value, list | tuple | set | frozenset) and field.item is not None:
        for one in value:
            yield from _stray(one, field.item, f"{path}[]")
