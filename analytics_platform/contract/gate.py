"""The typed gate: one look at each record's bytes, before any batch decoder sees them.

Batch decoders are fast and forgiving: they read 12.7 as 12 and "12" as 12, and one broken value can take its
neighbours with it. So each value is first decoded by msgspec against a type made from its contract, which either
finds exactly what the contract says or names the place of the fault; the objects are dropped at once.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from operator import attrgetter, or_
from typing import Any

import msgspec
import polars as pl

from analytics_platform.contract.cloudevents import ABOUT_DATA, ABOUT_DATA_TYPES, unsupported
from analytics_platform.contract.headers import unfit
from analytics_platform.contract.model import EventContract, Field
from analytics_platform.contract.place import Form, version_in
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import Claims, Rejected
from analytics_platform.contract.wire import (
    SCALARS,
    header_fields,
    header_names,
    member,
    place_of,
    struct_type,
    wire_fields,
)

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)
_WORDS = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "datetime": "timestamp"}
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*?)`(?: - at `\$\.?(?P<path>.*)`)?$")
_WRONG = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$")

Headers = Mapping[str, bytes | None]
"""The headers of one record that contracts name, by name; the last of its name counts."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """One contract, ready to judge values."""

    contract: EventContract
    label: str
    decode: Callable[[bytes], object]
    headers: tuple[tuple[Field, str], ...]
    """Fields that come from headers, and from which."""


class Gate:
    """Judges the values of one topic.

    All contracts of a topic must agree on where `event_type` and `schema_version` are; the loader sees to it.
    """

    def __init__(self, contracts: Sequence[EventContract]) -> None:
        """`contracts`: every known version of every event type of the topic."""
        self.contracts = tuple(contracts)
        self._readers = [_reader(contract) for contract in self.contracts]
        self._exact = {(one.name, one.header.version): place for place, one in enumerate(self.contracts)}
        self._newest: dict[tuple[str, int], int] = {}
        for place in sorted(range(len(self.contracts)), key=lambda place: self.contracts[place].order):
            self._newest[self.contracts[place].name, self.contracts[place].major] = place
        self._names = {one.sent_as: one.name for one in self.contracts}
        # Each has one spot: only a trace id may have several.
        self._claims = {name: place_of(self.contracts[0], name) for name in ("event_type", "schema_version", "source")}
        wire = [(name, place.spots[0].name) for name, place in self._claims.items() if not place.spots[0].header]
        self._in_value = self.contracts[0].payload_in is not None
        if self._in_value:
            wire += [(name, name) for name in ABOUT_DATA]
        # Any, not str: then only bytes that are no JSON object fail here, and a wrong type is told from broken JSON.
        envelope = msgspec.defstruct(
            "Envelope",
            [(name, Any, msgspec.field(name=source, default=None)) for name, source in wire],
            gc=False,
        )
        self._envelope: Callable[[bytes], object] = msgspec.json.Decoder(envelope).decode
        self._kinds, self._straight, self._version_of = _straight(self.contracts)

    @property
    def headers(self) -> tuple[str, ...]:
        """Names of the headers that `judge` wants to see, sorted."""
        return tuple(sorted(header_names(self.contracts)))

    def judge(
        self, values: Sequence[bytes], headers: pl.DataFrame | None = None
    ) -> tuple[list[int], dict[int, Rejected]]:
        """Find for each value the contract it fits, as its number in `contracts`; -1 for those rejected.

        Args:
            values: UTF-8 (checked before) and not nested too deeply (likewise).
            headers: One row per value, see `header_columns`; may be None when `self.headers` is empty.
        """
        if headers is not None or self._straight is None or self._version_of is not None:
            return self._judge_each(values, headers)
        # The common case in one pass: a union of the newest contracts, told apart by the event type. What it takes
        # is what `_judge_one` would take; what it refuses is looked at again for its reason or its older contract.
        kinds, straight, routes, rejected = self._kinds, self._straight, [], {}
        for place, value in enumerate(values):
            try:
                route = kinds[type(straight(value))]
            except (msgspec.DecodeError, RecursionError):
                verdict = self._judge_one(value, {})
                if isinstance(verdict, Rejected):
                    rejected[place], route = verdict, -1
                else:
                    route = verdict
            routes.append(route)
        return routes, rejected

    def claims(self, value: bytes, headers: Headers) -> Claims:
        """What a value that is a JSON object says of itself."""
        return self._named(self._read_claims(self._envelope(value), headers)[0])

    def _judge_each(
        self, values: Sequence[bytes], headers: pl.DataFrame | None
    ) -> tuple[list[int], dict[int, Rejected]]:
        routes, rejected = [], {}
        expected, unfit = self._expected(headers), self._unfit(headers)
        for place, value in enumerate(values):
            route = self._fast_route(value, -1 if expected is None else expected[place])
            if route < 0 or place in unfit[route]:
                verdict = self._judge_one(value, {} if headers is None else headers.row(place, named=True))
                if isinstance(verdict, Rejected):
                    rejected[place], route = verdict, -1
                else:
                    route = verdict
            routes.append(route)
        return routes, rejected

    def _fast_route(self, value: bytes, expected: int) -> int:
        """The contract that a value fits, by what it says or what its headers make us expect; -1 where in doubt."""
        try:
            if expected >= 0:
                self._readers[expected].decode(value)
                return expected
            if self._straight is None:
                return -1
            event = self._straight(value)
        except (msgspec.DecodeError, RecursionError):
            return -1
        route = self._kinds[type(event)]
        if self._version_of is not None and version_in(self._version_of(event)) != self.contracts[route].header.version:
            return -1
        return route

    def _expected(self, headers: pl.DataFrame | None) -> list[int] | None:
        """The contract of each record by its headers, -1 where there is none; None where they do not say it alone."""
        spots = [self._claims[name].spots[0] for name in ("event_type", "schema_version")]
        if headers is None or not all(spot.header for spot in spots):
            return None
        said = headers.select(spot.name for spot in spots)
        # Producers share a few pairs, so distinct pairs are looked at, not records.
        pairs = said.unique(maintain_order=True)
        routes = [self._route(dict(zip(said.columns, pair, strict=True))) for pair in pairs.iter_rows()]
        pairs = pairs.with_columns(pl.Series("_route", routes, pl.Int64))
        joined = said.join(pairs, on=said.columns, how="left", nulls_equal=True, maintain_order="left")
        return joined["_route"].to_list()

    def _route(self, headers: Headers) -> int:
        claims, faults = self._read_claims(self._envelope(b"{}"), headers)
        place = -1 if faults else self._place(claims)
        return -1 if isinstance(place, Rejected) else place

    def _unfit(self, headers: pl.DataFrame | None) -> list[set[int]]:
        """By contract, the records whose headers do not fit it."""
        if headers is None:
            return [set() for _ in self.contracts]
        return [unfit(headers, header_fields(contract)) for contract in self.contracts]

    def _judge_one(self, value: bytes, headers: Headers) -> int | Rejected:
        try:
            envelope = self._envelope(value)
        except (msgspec.DecodeError, RecursionError) as error:
            return _no_object(value, error)
        claims, faults = self._read_claims(envelope, headers)
        if faults:
            codes, reasons = zip(*faults, strict=True)
            return Rejected(codes, reasons, self._named(claims))
        place = self._place(claims)
        claims = self._named(claims)
        if isinstance(place, Rejected):
            return replace(place, claims=claims)
        reader = self._readers[place]
        try:
            reader.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            return Rejected((_code(error),), (_sentence(str(error)),), claims, reader.label)
        faults = _header_faults(reader.headers, headers)
        if faults:
            codes, reasons = zip(*faults, strict=True)
            return Rejected(codes, reasons, claims, reader.label)
        return place

    def _read_claims(self, envelope: object, headers: Headers) -> tuple[Claims, list[tuple[Reason, str]]]:
        found: dict[str, str] = {}
        faults: list[tuple[Reason, str]] = []
        for name, place in self._claims.items():
            spot = place.spots[0]
            value: object = _header_text(headers.get(spot.name)) if spot.header else getattr(envelope, name)
            if isinstance(value, str):
                # Text that holds no version is judged as the version it is not.
                found[name] = version_in(value) or value if place.form is Form.URI else value
            elif name != "source":
                word = "missing" if value is None else "expected string"
                faults.append((Reason.MISSING_FIELD if value is None else Reason.WRONG_TYPE, f"{place}: {word}"))
        if self._in_value and (text := unsupported(envelope)):
            faults = [(Reason.UNSUPPORTED_CONTENT, text)]
        return Claims(**found), faults

    def _named(self, claims: Claims) -> Claims:
        """The same, with the contract's own name of an event type that producers write in another way."""
        name = self._names.get(claims.event_type or "")
        return claims if name in {None, claims.event_type} else replace(claims, event_type=name)

    def _place(self, claims: Claims) -> int | Rejected:
        """The contract of exactly the claimed version, else the newest of its major, which reads older and newer."""
        name, version = self._names.get(claims.event_type or "", ""), claims.schema_version or ""
        if (name, version) in self._exact:
            return self._exact[name, version]
        if not name:
            text = f"event type not known; this topic has {', '.join(sorted(self._names))}"
            return Rejected((Reason.UNKNOWN_EVENT_TYPE,), (text,), claims)
        semver = _SEMVER.fullmatch(version)
        if semver is None:
            ends = "does not end in" if self._claims["schema_version"].form is Form.URI else "not"
            text = f"{self._claims['schema_version']}: {ends} a version of the form 1.2.3"
            return Rejected((Reason.WRONG_TYPE,), (text,), claims)
        for (other, major), place in self._newest.items():
            # As text: int() refuses numbers of thousands of digits.
            if other == name and str(major) == semver[1]:
                return place
        versions = ", ".join(contract.header.version for contract in self.contracts if contract.name == name)
        text = f"no contract of this major version; known: {versions}"
        return Rejected((Reason.UNKNOWN_SCHEMA_VERSION,), (text,), claims)


def _reader(contract: EventContract) -> _Reader:
    struct = struct_type(contract.name, wire_fields(contract))
    return _Reader(
        contract=contract,
        label=contract.label,
        decode=msgspec.json.Decoder(struct).decode,
        headers=tuple((field, name) for name, field in header_fields(contract)),
    )


def _straight(
    contracts: Sequence[EventContract],
) -> tuple[dict[type, int], Callable[[bytes], object] | None, Callable[[Any], str] | None]:
    """The decoder of the one-pass case, which of its types is which contract, and where a version is still to be read.

    No decoder when event type or version stand in a header.
    """
    spots = [place_of(contracts[0], one).spots[0] for one in ("event_type", "schema_version")]
    if any(spot.header or spot.data for spot in spots):
        return {}, None, None
    type_place, version_place = (spot.name for spot in spots)
    is_uri = place_of(contracts[0], "schema_version").form is Form.URI
    newest: dict[str, int] = {}
    for place in sorted(range(len(contracts)), key=lambda place: contracts[place].order):
        newest[contracts[place].sent_as] = place
    kinds: dict[type, int] = {}
    for name, place in newest.items():
        contract = contracts[place]
        fixed = {} if is_uri else {version_place: contract.header.version}
        tag: dict[str, str] = {}
        if len(newest) > 1:
            tag = {"tag_field": type_place, "tag": name}
        else:
            fixed[type_place] = name
        fields = [(wire, field) for wire, field in wire_fields(contract) if not tag or wire != tag["tag_field"]]
        about = ABOUT_DATA_TYPES if contract.payload_in is not None else {}
        kinds[struct_type(contract.name, fields, fixed, about, **tag)] = place
    version_of = attrgetter(member(next(iter(kinds)), version_place)) if is_uri else None
    return kinds, msgspec.json.Decoder(reduce(or_, kinds)).decode, version_of


def _header_text(value: bytes | None) -> str | bytes | None:
    """The header's text; its bytes when they are not UTF-8."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _header_faults(fields: Sequence[tuple[Field, str]], headers: Headers) -> list[tuple[Reason, str]]:
    faults = []
    for field, name in fields:
        text = _header_text(headers.get(name))
        if text is None:
            if field.required:
                faults.append((Reason.MISSING_FIELD, f"header {name}: missing"))
            continue
        if isinstance(text, bytes):
            faults.append((Reason.WRONG_TYPE, f"header {name}: not UTF-8"))
            continue
        try:
            msgspec.convert(text, SCALARS[field.type])
        except msgspec.ValidationError as error:
            faults.append((Reason.WRONG_TYPE, f"header {name}: {_lower(str(error))}"))
    return faults


_anything = msgspec.json.Decoder(msgspec.Raw).decode
"""Reads a value to its end without building it, and fails where it is no JSON."""


def _no_object(value: bytes, error: Exception) -> Rejected:
    """Why a value has no envelope. The gate stops at the first byte of what is no object: whether it is JSON is left."""
    if _code(error) is Reason.NOT_AN_OBJECT:
        try:
            _anything(value)
        except (msgspec.DecodeError, RecursionError) as fault:
            error = fault
    return Rejected((_code(error),), (_sentence(str(error)),))


def _code(error: Exception) -> Reason:
    text = str(error)
    if isinstance(error, RecursionError):
        return Reason.TOO_DEEP
    if not isinstance(error, msgspec.ValidationError):
        return Reason.MALFORMED_JSON
    if text.startswith("Expected `object`") and " - at " not in text:
        return Reason.NOT_AN_OBJECT
    if text.startswith("Object missing required field") or ", got `null`" in text:
        return Reason.MISSING_FIELD
    return Reason.WRONG_TYPE


@lru_cache(maxsize=1024)
def _sentence(text: str) -> str:
    """Say msgspec's finding in the contract's words: `ship.zip: missing`, `items[].qty: expected integer, got string`."""
    missing = _MISSING.match(text)
    if missing:
        path = f"{missing['path']}." if missing["path"] else ""
        return f"{_path(path)}{missing['name']}: missing"
    wrong = _WRONG.match(text)
    what = _lower(wrong["what"] if wrong else text)
    path = _path(wrong["path"] or "") if wrong else ""
    return f"{path}: {what}" if path else what


def _path(path: str) -> str:
    return re.sub(r"\[[^\]]*\]", "[]", path)


def _lower(text: str) -> str:
    words = re.sub(r"`([^`]*)`", lambda match: _in_words(match[1]), text)
    return words if words.startswith("JSON") else words[:1].lower() + words[1:]


def _in_words(types: str) -> str:
    return " or ".join(_WORDS.get(name, name) for name in types.split(" | "))
