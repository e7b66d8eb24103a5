"""Where the fields of the envelope stand, guessed from names that leave little doubt."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from analytics_platform.contract.draw.personal import words_of
from analytics_platform.contract.draw.sketch import Sketch
from analytics_platform.contract.envelope import is_place
from analytics_platform.contract.model import ENVELOPE, NAME, Field, LogicalType
from analytics_platform.contract.place import HEADER, Form
from analytics_platform.kafka.frame import WireFormat

KEYS = ("idempotency_key", "event_id", "message_id", "id")
TYPES = ("event_type", "event_name", "type")
VERSIONS = ("schema_version", "event_version", "version")
_NAMES = {
    "idempotency_key": KEYS,
    "event_type": TYPES,
    "schema_version": VERSIONS,
    "trace_id": ("trace_id", "traceparent", "trace_parent", "trace"),
    "occurred_at": ("occurred_at", "event_time", "event_timestamp", "time", "timestamp"),
    "source": ("source", "event_source", "producer"),
}
"""In snake case, the surest first."""
_MAY_BE_ABSENT = {"trace_id", "source"}
_LONGEST = 63


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a field of the envelope stands, and the field as it is there."""

    place: str
    """As contracts write it."""
    field: Field
    found: bool = True
    """False where nothing looks like it, and the place is one to fill in."""


def named(names: Iterable[str], among: Sequence[str]) -> list[str]:
    """Those of `names` that are one of `among` in snake or camel case, the surest first."""
    by_words: dict[str, str] = {}
    for name in names:
        plain = name.removeprefix("ce_").removeprefix("ce-")
        by_words.setdefault("_".join(words_of(plain)), name)
    return [by_words[one] for one in among if one in by_words]


def envelope_of(sketch: Sketch, event: str) -> dict[str, Spot]:
    """A spot for each field of the envelope, in their order."""
    columns = {*ENVELOPE, *(field.name for field in sketch.fields if NAME.fullmatch(field.name))}
    fields = {field.name: field for field in sketch.fields if _is_usable(field.name, columns)}
    spots: dict[str, Spot] = {}
    for key in ENVELOPE:
        free = {name: one for name, one in fields.items() if name not in {spot.place for spot in spots.values()}}
        spots[key] = next(_spots(key, free, sketch, event), _missing(key))
    return spots


def _spots(key: str, fields: dict[str, Field], sketch: Sketch, event: str) -> Iterator[Spot]:
    told = {"event_type": sketch.types, "schema_version": sketch.versions}.get(key)
    for name in named(fields, _NAMES[key]) if told is None else told:
        if name in fields and _fits(key, fields[name], event, sketch.wire):
            required = fields[name].required or key not in _MAY_BE_ABSENT
            yield Spot(_place(key, name, name), replace(fields[name], name=key, required=required))
    headers = [name for name in sketch.headers if is_place(f"{HEADER}{name}", cloudevents=False)]
    for name in named(headers, _NAMES[key]):
        field = Field(key, _type(key), required=True, description="")
        yield Spot(_place(key, name, f"{HEADER}{name}"), field)


def _is_usable(name: str, columns: Container[str]) -> bool:
    """Whether a field can be named as a place: case alone must not tell it from a column."""
    return is_place(name, cloudevents=False) and (name in columns or name.lower() not in columns)


def _fits(key: str, field: Field, event: str, wire: WireFormat) -> bool:
    """Whether a field can be this one: of its type, there where it must be, and with no rule that would contradict."""
    # Its own name leaves no choice, and Protobuf none to say so: an event without it is quarantined anyway.
    there = field.required or key in _MAY_BE_ABSENT or field.name == key or wire is WireFormat.PROTOBUF
    if field.type is not _type(key) or not there or len(field.name) > _LONGEST:
        return False
    if key == "event_type":
        return field.rules.enum in (None, (event,))
    return key != "schema_version" or field.rules.enum is None


def _place(key: str, name: str, place: str) -> str:
    is_parent = key == "trace_id" and "_".join(words_of(name)) in {"traceparent", "trace_parent", "ce_traceparent"}
    return f"{Form.TRACEPARENT}{place}" if is_parent else place


def _missing(key: str) -> Spot:
    return Spot(f"{HEADER}{key}", Field(key, _type(key), key not in _MAY_BE_ABSENT, ""), found=False)


def _type(key: str) -> LogicalType:
    return LogicalType.TIMESTAMP if key == "occurred_at" else LogicalType.STRING
