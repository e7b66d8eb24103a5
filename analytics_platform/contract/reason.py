"""Why a record was quarantined: a closed list, explained for readers in docs/quarantine.md.

A code is what people filter, count and alert on, so a code once released keeps its name and its meaning.
Codes stand in the order in which they can be found out: bytes, frame, JSON, envelope, fields, rules, key, and what the
row refers to.
"""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A reason code. `meaning` says it in one sentence; `whole_record` whether it ends the look at the record."""

    meaning: str
    whole_record: bool

    def __new__(cls, code: str, meaning: str, whole_record: bool) -> Self:
        """The member's value is its code alone."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.whole_record = whole_record
        return member

    MISSING_VALUE = ("missing_value", "The record's value is null (a tombstone), so it holds no event.", True)
    OVERSIZED = ("oversized", "The value is longer than the platform takes; only its beginning was kept.", True)
    UNSUPPORTED_CONTENT = (
        "unsupported_content",
        "The record is not in the form its contract says: not that wire format, or no CloudEvents 1.0 event.",
        True,
    )
    UNKNOWN_SCHEMA = ("unknown_schema", "The schema registry has no schema of the id that the value names.", True)
    MALFORMED_VALUE = (
        "malformed_value",
        "The value is not what the schema says by which it was written: Avro or Protobuf that cannot be read.",
        True,
    )
    INVALID_UTF8 = ("invalid_utf8", "The value is not UTF-8 text.", True)
    MALFORMED_JSON = ("malformed_json", "The value is not one JSON document (NaN and Infinity are not JSON).", True)
    NOT_AN_OBJECT = ("not_an_object", "The value is JSON, but not an object.", True)
    TOO_DEEP = ("too_deep", "The value nests objects or arrays deeper than the platform takes.", True)
    DUPLICATE_KEY = ("duplicate_key", "An object of the value has one key twice, so its meaning is not defined.", True)
    UNDECODABLE = (
        "undecodable",
        "The record alone makes decoding fail in a way nobody has foreseen; its batch went on without it.",
        True,
    )
    UNKNOWN_EVENT_TYPE = ("unknown_event_type", "The event type is not one of those contracted for this topic.", True)
    UNKNOWN_SCHEMA_VERSION = ("unknown_schema_version", "The event type has no contract of this schema version.", True)
    VERSION_SUNSET = (
        "version_sunset",
        "The schema version was taken until the day its contract names, and that day is over.",
        True,
    )
    MISSING_FIELD = ("missing_field", "A required field is absent or null.", False)
    WRONG_TYPE = ("wrong_type", "A field's value is not of the contract's type, or too large for it.", False)
    RULE_VIOLATED = (
        "rule_violated",
        "A field's value breaks a rule of the contract: range, pattern, enum, size.",
        False,
    )
    ROW_RULE_VIOLATED = ("row_rule_violated", "The row breaks a rule of the contract over several fields.", False)
    KEY_MISMATCH = ("key_mismatch", "The idempotency key is not the one derived from the business identifiers.", False)
    UPCAST_FAILED = (
        "upcast_failed",
        "The row of an older major version does not fit the newer one after its up-cast.",
        False,
    )
    UNKNOWN_REFERENCE = (
        "unknown_reference",
        "A reference table that the contract asks does not know the row's key, and the contract wants it to.",
        False,
    )
