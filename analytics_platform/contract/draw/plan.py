"""A sketch and what a person says beside it, as all that a draft of a contract needs."""

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_platform.contract.draw.envelope import KEYS, Spot, envelope_of
from analytics_platform.contract.draw.personal import classified
from analytics_platform.contract.draw.sketch import LeftOut, Notes, Sketch
from analytics_platform.contract.draw.tidy import tidied, tidy
from analytics_platform.contract.model import ENVELOPE, Field, KeyMode, LogicalType
from analytics_platform.errors import NotImportable

_IDENTIFIERS = (LogicalType.STRING, LogicalType.INTEGER, LogicalType.TIMESTAMP)
_OWN_KEY = "idempotency_key"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person says."""

    domain: str
    event: str
    topic: str | None = None
    """The topic's name in Kafka; None leaves a placeholder."""
    key: tuple[str, ...] = ()
    """The business identifiers."""
    time_field: str | None = None
    """The identifier by which copies are found."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A draft, not yet written down."""

    sketch: Sketch
    wishes: Wishes
    spots: dict[str, Spot]
    payload: tuple[Field, ...]
    mode: KeyMode
    by: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields of the envelope that nothing looks like, and that have to stand somewhere."""
        derived = {_OWN_KEY} if self.mode is KeyMode.DERIVE else set()
        return tuple(key for key, spot in self.spots.items() if not spot.found and key not in derived)


def plan(sketch: Sketch, wishes: Wishes) -> Plan:
    """What the draft will say.

    Raises:
        NotImportable: identifiers are missing, or are none; says which fields could be.
    """
    notes = Notes(sketch.source, dict.fromkeys(sketch.left_out))
    spots = _with_time(envelope_of(sketch, wishes.event), sketch, wishes.time_field)
    spots = {key: _tidy_spot(spot, notes) for key, spot in spots.items()}
    optional = {field.name for field in sketch.fields if not field.required}
    for key, spot in spots.items():
        if spot.field.required and spot.place in optional:
            notes.leave(f"that {spot.place} may be absent", f"every event has its {key}")
    sent = spots[_OWN_KEY]
    mode = KeyMode.TRUST if sent.found else KeyMode.DERIVE
    if wishes.key:
        mode = KeyMode.VERIFY if sent.place == _OWN_KEY else KeyMode.DERIVE
    if mode is KeyMode.DERIVE:
        spots[_OWN_KEY] = Spot(
            _OWN_KEY, Field(_OWN_KEY, LogicalType.STRING, required=True, description=""), found=False
        )
    payload = _payload(sketch, spots, wishes, notes)
    by = _identifiers(sketch.source, payload, wishes, mode)
    if any(name.lower() == "ce_specversion" for name in sketch.headers):
        notes.leave("that these are CloudEvents", "say style: cloudevents in envelope: docs/contracts.md#cloudevents")
    personal = tuple(classified(field, by, wishes.time_field) for field in payload)
    return Plan(sketch, wishes, spots, personal, mode, by, tuple(notes.left_out))


def _with_time(spots: dict[str, Spot], sketch: Sketch, time_field: str | None) -> dict[str, Spot]:
    """An event happened at its time, where nothing else says when."""
    fields = {field.name: field for field in sketch.fields}
    found = None if time_field is None else fields.get(time_field)
    if found is None or spots["occurred_at"].found or found.type is not LogicalType.TIMESTAMP or not found.required:
        return spots
    field = Field("occurred_at", found.type, required=True, description=found.description)
    return {**spots, "occurred_at": Spot(found.name, field)}


def _tidy_spot(spot: Spot, notes: Notes) -> Spot:
    kept = tidy(spot.field, notes, spot.place)
    return spot if kept is None else Spot(spot.place, kept, spot.found)


def _payload(sketch: Sketch, spots: dict[str, Spot], wishes: Wishes, notes: Notes) -> tuple[Field, ...]:
    """What is not the envelope's, and what a person wants as an identifier although it is."""
    places = {spot.place.rsplit(":", 1)[-1] for spot in spots.values() if not spot.place.startswith("header:")}
    wanted = {*wishes.key, wishes.time_field}
    rest = []
    for field in sketch.fields:
        if field.name in ENVELOPE:
            if field.name not in places:
                notes.leave(field.name, _why_not(field, wishes.event))
        elif field.name not in places or field.name in wanted:
            rest.append(field)
    return tidied(rest, notes)


def _why_not(field: Field, event: str) -> str:
    if field.name == "event_type" and event not in (field.rules.enum or (event,)):
        return f"it is never {event}, and records find a contract by its name"
    wanted = "a required timestamp" if field.name == "occurred_at" else "a required string"
    if field.name in {"trace_id", "source"}:
        wanted = "a string"
    return f"the envelope has a field of that name, which is {wanted} and means what docs/contracts.md says"


def _identifiers(source: str, payload: Sequence[Field], wishes: Wishes, mode: KeyMode) -> tuple[str, ...]:
    able = [field.name for field in payload if field.type in _IDENTIFIERS and field.required]
    there = f"; those are {', '.join(able)}" if able else "; there is none"
    for name in wishes.key:
        if name not in able:
            why = f"--key {name} is no required field of type {', '.join(_IDENTIFIERS)} outside the envelope"
            raise NotImportable(source, why + there)
    if not wishes.key and mode is not KeyMode.TRUST:
        why = f"no required text looks like the event's own key ({', '.join(KEYS)}), so --key has to name the fields"
        raise NotImportable(
            source, f"{why} that tell events apart, required ones of type {', '.join(_IDENTIFIERS)}{there}"
        )
    time_field = wishes.time_field
    times = [name for name in able if any(one.name == name and one.type is LogicalType.TIMESTAMP for one in payload)]
    if time_field is not None and time_field not in times:
        there = f"; those are {', '.join(times)}" if times else "; there is none"
        raise NotImportable(source, f"--time-field {time_field} is no required timestamp outside the envelope{there}")
    if wishes.key and time_field is not None and time_field not in wishes.key:
        return (*dict.fromkeys(wishes.key), time_field)
    return tuple(dict.fromkeys(wishes.key))
