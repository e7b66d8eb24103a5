"""Events broken on purpose, each with the reason code its record must end with.

A fault is made from a real event but takes an identity of its own (a flight number or an observation time that the data
does not have), so a platform that let it through would show a row too many instead of hiding it as a duplicate.

Real events are written by the producers' helper (`produce.py`), which refuses all of this: so their bytes are broken
here, after it, as a producer without the helper would send them.
"""

import hashlib
import json
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from random import Random
from typing import Any, NamedTuple

from analytics_platform.contract.reason import Reason
from analytics_platform.demo.events import Event

NESTING = 10_000
"""How deep the nested fault goes."""


class Kind(StrEnum):
    """What one sent record is: the first two are the real events, each sent once; all others come on top of them."""

    ON_TIME = "on_time"
    LATE = "late"
    DUPLICATE = "duplicate"
    FAR_DUPLICATE = "far_duplicate"
    MALFORMED = "malformed"
    CONTRACT_BREAKER = "contract_breaker"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_TYPE = "unknown_type"


class Fault(NamedTuple):
    """One way in which a record is wrong."""

    name: str
    reason: Reason
    """The only code that its quarantined row carries."""
    make: Callable[[Event, Random], bytes | None]
    """The broken value made of a real event's; None is a tombstone."""


Fields = dict[str, Any]


def _truncated(event: Event, random: Random) -> bytes:
    value = _value(event)
    return value[: random.randrange(1, len(value))]


def _two_objects(event: Event, random: Random) -> bytes:
    return _value(event) + random.choice((b"", b"\n", b",")) + _value(event)


def _broken_utf8(event: Event, random: Random) -> bytes:
    start, found, end = _value(event).partition(b'"source":"')
    return start + found + random.choice((b"\xff", b"\xc3(", b"\xe2\x82", b"\xed\xa0\x80")) + end


def _number_as(text: bytes, event: Event, random: Random) -> bytes:
    return _changed(partial(_set_number, "@"), event, random).replace(b'"@"', text)


def _scalar(event: Event, random: Random) -> bytes:
    return random.choice((b"42", b"true", b'"landed"', b'"' + event.key + b'"'))


def _too_deep(event: Event, _random: Random) -> bytes:
    return _value(event)[:-1] + b',"extra":' + b"[" * NESTING + b"]" * NESTING + b"}"


def _changed(change: Callable[[Fields, Random], object], event: Event, random: Random) -> bytes:
    fields = _stranger(event)
    change(fields, random)
    return _json(fields)


def _set_number(value: Any, fields: Fields, _random: Random) -> None:
    fields[_number_of(fields)] = value


def _set(name: str, value: Any, fields: Fields, _random: Random) -> None:
    fields[name] = value


def _drop(name: str, fields: Fields, _random: Random) -> None:
    del fields[name]


def _unknown_airport(fields: Fields, random: Random) -> None:
    fields["origin"] = random.choice(("LHR", "jfk", "", "New York"))
    fields["idempotency_key"] = _key_of(fields)


def _contradiction(fields: Fields, _random: Random) -> None:
    if "observed_at" in fields:
        fields["occurred_at"] = fields["occurred_at"].replace("2015-", "2016-")
    else:
        fields["destination"] = fields["origin"]


def _foreign_key(fields: Fields, random: Random) -> None:
    fields["idempotency_key"] = f"{random.getrandbits(256):064x}"


def _version(fields: Fields, random: Random) -> None:
    fields["schema_version"] = random.choice(("2.0.0", "9.9.9"))


def _unknown_type(fields: Fields, random: Random) -> None:
    fields["event_type"] = random.choice(("flight_diverted", "gate_changed", "flight_Departed"))


def _other_topics_type(fields: Fields, _random: Random) -> None:
    fields["event_type"] = "flight_arrived" if "observed_at" in fields else "weather_observed"


def _duplicate_key(event: Event, _random: Random) -> bytes:
    return b'{"source":"/airports/LHR/operations",' + _value(event)[1:]


FAULTS: dict[Kind, tuple[Fault, ...]] = {
    Kind.MALFORMED: (
        Fault("truncated", Reason.MALFORMED_JSON, _truncated),
        Fault("broken_utf8", Reason.INVALID_UTF8, _broken_utf8),
        Fault("null_literal", Reason.NOT_AN_OBJECT, lambda _event, _random: b"null"),
        Fault("empty", Reason.MALFORMED_JSON, lambda _event, _random: b""),
        Fault("nan", Reason.MALFORMED_JSON, partial(_number_as, b"NaN")),
        Fault("array", Reason.NOT_AN_OBJECT, lambda event, _random: b"[" + _value(event) + b"]"),
        Fault("too_deep", Reason.TOO_DEEP, _too_deep),
        Fault("trailing_garbage", Reason.MALFORMED_JSON, lambda event, _random: _value(event) + b" EOF"),
        Fault("two_objects", Reason.MALFORMED_JSON, _two_objects),
        Fault("tombstone", Reason.MISSING_VALUE, lambda _event, _random: None),
        Fault("scalar", Reason.NOT_AN_OBJECT, _scalar),
        Fault("infinity", Reason.MALFORMED_JSON, partial(_number_as, b"-Infinity")),
        Fault("utf16", Reason.INVALID_UTF8, lambda event, _random: _value(event).decode().encode("utf-16")),
        Fault("binary", Reason.MALFORMED_JSON, lambda _event, _random: b"\x00\x01\x02\x03"),
        Fault("single_quotes", Reason.MALFORMED_JSON, lambda event, _random: _value(event).replace(b'"', b"'")),
    ),
    Kind.CONTRACT_BREAKER: (
        Fault("missing_field", Reason.MISSING_FIELD, partial(_changed, partial(_drop, "source"))),
        Fault("null_field", Reason.MISSING_FIELD, partial(_changed, partial(_set, "trace_id", None))),
        Fault("text_for_number", Reason.WRONG_TYPE, partial(_changed, partial(_set_number, "far"))),
        Fault("digits_in_quotes", Reason.WRONG_TYPE, partial(_changed, partial(_set_number, "17"))),
        Fault("fraction_for_integer", Reason.WRONG_TYPE, partial(_changed, partial(_set_number, 12.7))),
        Fault("boolean_for_number", Reason.WRONG_TYPE, partial(_changed, partial(_set_number, True))),
        Fault("number_for_text", Reason.WRONG_TYPE, partial(_changed, partial(_set, "source", 5))),
        Fault("object_for_number", Reason.WRONG_TYPE, partial(_changed, partial(_set_number, {"value": 17}))),
        Fault("huge_number", Reason.WRONG_TYPE, partial(_changed, partial(_set_number, 10**40))),
        Fault("no_timestamp", Reason.WRONG_TYPE, partial(_changed, partial(_set, "occurred_at", "yesterday"))),
        Fault("out_of_range", Reason.RULE_VIOLATED, partial(_changed, partial(_set_number, -20))),
        Fault("pattern_broken", Reason.RULE_VIOLATED, partial(_changed, partial(_set, "trace_id", "none"))),
        Fault("enum_broken", Reason.RULE_VIOLATED, partial(_changed, _unknown_airport)),
        Fault("row_rule_broken", Reason.ROW_RULE_VIOLATED, partial(_changed, _contradiction)),
        Fault("key_mismatch", Reason.KEY_MISMATCH, partial(_changed, _foreign_key)),
        Fault("duplicate_key", Reason.DUPLICATE_KEY, _duplicate_key),
    ),
    Kind.UNKNOWN_VERSION: (Fault("unknown_version", Reason.UNKNOWN_SCHEMA_VERSION, partial(_changed, _version)),),
    Kind.UNKNOWN_TYPE: (
        Fault("unknown_type", Reason.UNKNOWN_EVENT_TYPE, partial(_changed, _unknown_type)),
        Fault("other_topics_type", Reason.UNKNOWN_EVENT_TYPE, partial(_changed, _other_topics_type)),
    ),
}
"""Every fault, by the kind of trouble it belongs to."""


def _stranger(event: Event) -> Fields:
    """The event's fields under an identity that the data does not have: it ends early in 2014 and has no flight 9000."""
    fields: Fields = json.loads(event.value)
    if "observed_at" in fields:
        fields["observed_at"] = fields["occurred_at"] = fields["observed_at"].replace("2013-", "2015-")
    else:
        fields["flight_number"] = 9000 + fields["flight_number"] % 1000
    fields["idempotency_key"] = _key_of(fields)
    return fields


def _key_of(fields: Fields) -> str:
    names = (
        ("origin", "observed_at")
        if "observed_at" in fields
        else ("carrier", "flight_number", "origin", "scheduled_departure")
    )
    parts = [fields["event_type"], *(str(fields[name]) for name in names)]
    parts[-1] = parts[-1].replace("Z", ".000000Z")
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def _number_of(fields: Fields) -> str:
    return "wind_direction_degrees" if "observed_at" in fields else "distance_miles"


def _value(event: Event) -> bytes:
    return _json(_stranger(event))


def _json(fields: Fields) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
