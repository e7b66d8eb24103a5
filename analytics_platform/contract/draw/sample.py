"""Records of a topic, as a sketch of a contract: what is true of every one of them, and none of their values.

Types are as narrow as all values allow; patterns, enums and bounds are not made up from what happened to be there.
A key of an object may be personal data where objects are used as maps; such keys are neither kept nor told.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from analytics_platform.contract.draw.envelope import TYPES, VERSIONS, named
from analytics_platform.contract.draw.sketch import Notes, Sketch, within
from analytics_platform.contract.header import VERSION
from analytics_platform.contract.json_schema import DATE, INTEGERS, TIMESTAMP
from analytics_platform.contract.model import Field, LogicalType
from analytics_platform.contract.wire import SCALARS
from analytics_platform.errors import NotImportable

_MOST_KEYS = 100
"""An object of more distinct keys, over all records, is a map."""
_MOST_AT_ROOT = 1000
_FEW = 3
"""Fewer objects, or keys, show nothing."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_TIMES, _DAYS = re.compile(TIMESTAMP), re.compile(DATE)
_KINDS = {
    str: LogicalType.STRING,
    bool: LogicalType.BOOLEAN,
    int: LogicalType.INTEGER,
    float: LogicalType.NUMBER,
    dict: LogicalType.OBJECT,
    list: LogicalType.ARRAY,
}

Record = tuple[bytes | None, Mapping[str, bytes | None]]
"""Value and headers; of several headers of one name the last."""


@dataclass(slots=True)
class _Seen:
    """What was found at one place of many values."""

    count: int = 0
    nulls: int = 0
    kinds: set[LogicalType] = field(default_factory=set)
    objects: int = 0
    keys: dict[str, "_Seen"] = field(default_factory=dict)
    items: "_Seen | None" = None
    all_times: bool = True
    all_days: bool = True
    some_times: bool = False
    fits: bool = True
    """Whether every whole number fits a column."""

    def take(self, value: Any) -> None:
        self.count += 1
        if value is None:
            self.nulls += 1
            return
        kind = _KINDS[type(value)]
        self.kinds.add(kind)
        if kind is LogicalType.STRING:
            self._take_text(value)
        elif kind is LogicalType.INTEGER:
            self.fits = self.fits and INTEGERS[0] <= value <= INTEGERS[1]
        elif kind is LogicalType.OBJECT:
            self.objects += 1
            for key, inner in value.items():
                if key in self.keys or len(self.keys) <= _MOST_AT_ROOT:
                    self.keys.setdefault(key, _Seen()).take(inner)
        elif kind is LogicalType.ARRAY:
            self.items = self.items or _Seen()
            for item in value:
                self.items.take(item)

    def _take_text(self, value: str) -> None:
        is_time = _TIMES.fullmatch(value) is not None and _reads(value, LogicalType.TIMESTAMP)
        self.all_times = self.all_times and is_time
        self.some_times = self.some_times or is_time or _is_naive(value)
        self.all_days = self.all_days and _DAYS.fullmatch(value) is not None and _reads(value, LogicalType.DATE)

    @property
    def is_map(self) -> bool:
        """Whether its keys are more likely data than names: very many, no names at all, or none that comes again."""
        if len(self.keys) > _MOST_KEYS or not any(_IDENTIFIER.fullmatch(key) for key in self.keys):
            return True
        most = max(seen.count for seen in self.keys.values())
        return self.objects >= _FEW <= len(self.keys) and 2 * most < self.objects

    @property
    def alone(self) -> set[str]:
        """Keys that are more likely data than names beside some that are: many, and each there once."""
        found = {key for key, seen in self.keys.items() if seen.count == 1}
        return found if self.objects >= _FEW <= len(found) > len(self.keys) - len(found) else set()


def sample_sketch(records: Sequence[Record], source: str, event: str) -> Sketch:
    """What records say of an event.

    Args:
        records: Of a topic whose values are bare JSON.
        source: The topic.
        event: Where the records say of which type they are and some are of this one, only those count.

    Raises:
        NotImportable: none of them is a JSON object.
    """
    notes = Notes(source)
    found = list(_objects(records, notes, source))
    types = [place for place in _typed(found, TYPES) if any(_at(one, place) == event for one in found)]
    if types:
        others = [one for one in found if _at(one, types[0]) != event]
        found = [one for one in found if _at(one, types[0]) == event]
        if others:
            notes.leave(f"{len(others)} of the sampled records", f"{types[0][1]} says that they are another event")
    root = _Seen()
    for value, _ in found:
        root.take(value)
    if len(root.keys) > _MOST_AT_ROOT:
        raise NotImportable(source, f"its records have more than {_MOST_AT_ROOT} different fields together")
    versions = [
        place for place in _typed(found, VERSIONS) if all(VERSION.fullmatch(_at(one, place) or "") for one in found)
    ]
    for _, name in versions[:1]:
        if any(not (_at(one, versions[0]) or "").startswith("1.") for one in found):
            notes.leave(f"that {name} begins with another number than 1", "a contract that begins is of version 1.0.0")
    fields = tuple(_fields(root, "", notes))
    return Sketch(
        source=source,
        fields=fields,
        left_out=tuple(notes.left_out),
        types=tuple(name for _, name in types),
        versions=tuple(name for _, name in versions),
        headers=tuple(_headers(found, {*types, *versions})),
    )


_Event = tuple[dict[str, Any], dict[str, str]]
"""A value, and those of its headers that are text."""
_Place = tuple[bool, str]
"""Whether it is a header, and its name."""


def _objects(records: Sequence[Record], notes: Notes, source: str) -> Iterator[_Event]:
    empty = broken = 0
    for value, headers in records:
        if value is None:
            empty += 1
            continue
        try:
            found = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield found, dict(_texts(headers))
        else:
            broken += 1
    if empty:
        notes.leave(f"{empty} of the sampled records", "they are tombstones, without a value")
    if broken:
        notes.leave(f"{broken} of the sampled records", "they are no JSON objects")
    if empty + broken == len(records):
        why = f"none of {len(records)} sampled records is a JSON object" if records else "it holds no record"
        raise NotImportable(source, f"{why} (start from --subject where values stand behind a registry's frame)")


def _texts(headers: Mapping[str, bytes | None]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        try:
            if value is not None:
                yield name, value.decode("utf-8")
        except UnicodeDecodeError:
            continue


def _typed(found: Sequence[_Event], among: Sequence[str]) -> Iterator[_Place]:
    """The places, of those that are named like one of `among`, where every record has text."""
    value, headers = found[0]
    places = [(False, name) for name in named(value, among)] + [(True, name) for name in named(headers, among)]
    for place in places:
        if all(isinstance(_at(one, place), str) for one in found):
            yield place


def _at(event: _Event, place: _Place) -> Any:
    value, headers = event
    return headers.get(place[1]) if place[0] else value.get(place[1])


def _headers(found: Sequence[_Event], told: set[_Place]) -> Iterator[str]:
    """Headers of every record; those that would say type or version only where they do."""
    for name in found[0][1] if found else ():
        if all(name in headers for _, headers in found):
            speaks = bool(named([name], (*TYPES, *VERSIONS)))
            if not speaks or (True, name) in told:
                yield name


def _fields(seen: _Seen, path: str, notes: Notes) -> Iterator[Field]:
    """The fields of an object, in the order in which they first came."""
    strange = {key for key in seen.keys if not _IDENTIFIER.fullmatch(key)}
    alone = seen.alone - strange
    for keys, why in ((strange, "they are no names"), (alone, "each is in one record alone")):
        if keys:
            what = f"{len(keys)} {'key' if len(keys) == 1 else 'keys'}{f' of {path}' if path else ''}"
            notes.leave(what, f"{why} (and not shown: keys of records may be personal data)")
    for key, inner in seen.keys.items():
        if key not in strange | alone:
            field = _field(key, inner, within(path, key), notes, always=inner.count - inner.nulls == seen.objects)
            if field is not None:
                yield field


def _field(name: str, seen: _Seen, path: str, notes: Notes, *, always: bool) -> Field | None:
    notes.count()
    kind, why = _kind(seen)
    if kind is None:
        notes.leave(path, why)
        return None
    if kind is LogicalType.STRING and seen.some_times:
        notes.leave(f"that {path} is a time", "not every value is RFC 3339 with an offset from UTC")
    fields = tuple(_fields(seen, path, notes)) if kind is LogicalType.OBJECT else ()
    item = None
    if kind is LogicalType.ARRAY and seen.items is not None:
        item = _field("item", seen.items, f"{path}[]", notes, always=seen.items.nulls == 0)
        if item is None:
            return None
    return Field(name, kind, always, "", fields=fields, item=item)


def _kind(seen: _Seen) -> tuple[LogicalType | None, str]:
    """The type that takes all values; None, and why there is none."""
    kinds = seen.kinds
    if kinds == {LogicalType.INTEGER, LogicalType.NUMBER}:
        return LogicalType.NUMBER, ""
    if len(kinds) != 1:
        why = f"it holds {' and '.join(sorted(kinds))}, and a field has one type"
        return None, why if kinds else "it is null wherever it is"
    (kind,) = kinds
    faults = {
        "it is always empty": kind is LogicalType.OBJECT and not seen.keys,
        "it looks like a map, whose keys are data": kind is LogicalType.OBJECT and seen.is_map,
        "it is empty wherever it is, so what it holds is not known": kind is LogicalType.ARRAY
        and (seen.items is None or seen.items.count == 0),
        "it holds whole numbers beyond 64 bits": kind is LogicalType.INTEGER and not seen.fits,
    }
    if fault := next((why for why, holds in faults.items() if holds), None):
        return None, fault
    if kind is LogicalType.STRING:
        kind = LogicalType.TIMESTAMP if seen.all_times else LogicalType.DATE if seen.all_days else kind
    return kind, ""


def _reads(value: str, kind: LogicalType) -> bool:
    """Whether a column takes it: a day that does not exist has the form of one, and some are no day in UTC."""
    try:
        found = msgspec.convert(value, SCALARS[kind])
        if isinstance(found, datetime):
            found.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        return False
    return True


def _is_naive(value: str) -> bool:
    try:
        return len(value) > 10 and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False
