"""The typed gate: one look at each record's bytes, before any batch decoder sees them.

Batch decoders are fast and forgiving: they read 12.7 as 12 and "12" as 12, and one broken value can take its
neighbours with it. So each value is first decoded by msgspec against a type made from its contract, which either
finds exactly what the contract says or names the place of the fault; the objects are dropped at once.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_
from typing import Any

import msgspec

from analytics_platform.contract.model import EventContract, Field
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import Claims, Rejected
from analytics_platform.contract.wire import (
    HEADER,
    SCALARS,
    header_fields,
    header_names,
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
        self._claims = {name: place_of(self.contracts[0], name) for name in ("event_type", "schema_version", "source")}
        wire = [(name, source) for name, source in self._claims.items() if not source.startswith(HEADER)]
        # Any, not str: then only bytes that are no JSON object fail here, and a wrong type is told from broken JSON.
        envelope = msgspec.defstruct(
            "Envelope",
            [(name, Any, msgspec.field(name=source, default=None)) for name, source in wire],
            gc=False,
        )
        self._envelope: Callable[[bytes], object] = msgspec.json.Decoder(envelope).decode
        self._kinds, self._straight = _straight(self.contracts)

    @property
    def headers(self) -> tuple[str, ...]:
        """Names of the headers that `judge` wants to see, sorted."""
        return tuple(sorted(header_names(self.contracts)))

    def judge(
        self, values: Sequence[bytes], headers: Sequence[Headers] | None = None
    ) -> tuple[list[int], dict[int, Rejected]]:
        """Find for each value the contract it fits, as its number in `contracts`; -1 for those rejected.

        Args:
            values: UTF-8 (checked before) and not nested too deeply (likewise).
            headers: One per value; may be None when `self.headers` is empty.
        """
        if self._straight is None:
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
        return self._read_claims(self._envelope(value), headers)[0]

    def _judge_each(
        self, values: Sequence[bytes], headers: Sequence[Headers] | None
    ) -> tuple[list[int], dict[int, Rejected]]:
        routes, rejected = [], {}
        for place, value in enumerate(values):
            verdict = self._judge_one(value, {} if headers is None else headers[place])
            if isinstance(verdict, Rejected):
                rejected[place] = verdict
            routes.append(-1 if isinstance(verdict, Rejected) else verdict)
        return routes, rejected

    def _judge_one(self, value: bytes, headers: Headers) -> int | Rejected:
        try:
            envelope = self._envelope(value)
        except (msgspec.DecodeError, RecursionError) as error:
            return _no_object(value, error)
        claims, faults = self._read_claims(envelope, headers)
        if faults:
            codes, reasons = zip(*faults, strict=True)
            return Rejected(codes, reasons, claims)
        place = self._place(claims)
        if isinstance(place, Rejected):
            return place
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
        for name, source in self._claims.items():
            if source.startswith(HEADER):
                value: object = _header_text(headers.get(source.removeprefix(HEADER)))
            else:
                value = getattr(envelope, name)
            if isinstance(value, str):
                found[name] = value
            elif name != "source":
                word = "missing" if value is None else "expected string"
                faults.append((Reason.MISSING_FIELD if value is None else Reason.WRONG_TYPE, f"{source}: {word}"))
        return Claims(**found), faults

    def _place(self, claims: Claims) -> int | Rejected:
        """The contract of exactly the claimed version, else the newest of its major, which reads older and newer."""
        name, version = claims.event_type or "", claims.schema_version or ""
        if (name, version) in self._exact:
            return self._exact[name, version]
        known = sorted({contract.name for contract in self.contracts})
        if name not in known:
            text = f"event type not known; this topic has {', '.join(known)}"
            return Rejected((Reason.UNKNOWN_EVENT_TYPE,), (text,), claims)
        semver = _SEMVER.fullmatch(version)
        if semver is None:
            text = f"{self._claims['schema_version']}: not a version of the form 1.2.3"
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
) -> tuple[dict[type, int], Callable[[bytes], object] | None]:
    """The decoder of the one-pass case, and which of its types is which contract; None when headers have a say."""
    if header_names(contracts):
        return {}, None
    newest: dict[str, int] = {}
    for place in sorted(range(len(contracts)), key=lambda place: contracts[place].order):
        newest[contracts[place].name] = place
    kinds: dict[type, int] = {}
    for name, place in newest.items():
        contract = contracts[place]
        fixed = {place_of(contract, "schema_version"): contract.header.version}
        tag: dict[str, str] = {}
        if len(newest) > 1:
            tag = {"tag_field": place_of(contract, "event_type"), "tag": name}
        else:
            fixed[place_of(contract, "event_type")] = name
        fields = [(wire, field) for wire, field in wire_fields(contract) if not tag or wire != tag["tag_field"]]
        kinds[struct_type(name, fields, fixed, **tag)] = place
    union = reduce(or_, kinds)
    return kinds, msgspec.json.Decoder(union).decode


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
