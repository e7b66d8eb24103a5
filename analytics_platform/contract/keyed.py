"""Reference tables that come by a compacted topic: its records as events, so that all that reads events reads them.

    key  = the primary key: a JSON object, or of one field alone also its plain value
    value = the row as a JSON object, with or without its key; null says that the key is gone

What stands in bronze stays as it came, and a quarantined record keeps its own bytes. What is judged is the value with
the envelope and, where it has none, the key put in front of what the producer wrote: no number passes through a double.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import polars as pl

from analytics_platform.contract.model import (
    ENVELOPE,
    EventContract,
    Field,
    Header,
    Identity,
    Keyed,
    KeyMode,
    LogicalType,
    RowRule,
)
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import Claims, Rejected
from analytics_platform.duck import identifier

DELETED = "_deleted"
"""The field of a change that says whether the key is gone."""

_SAID = {name: f"_{name}" for name in ENVELOPE}
"""The member of the value that holds each field of the envelope."""
_READ = ("key", "value", "value_bytes", "kafka_timestamp", "ingested_at", "topic_id", "partition", "offset")
_MOST_KEY_BYTES = 16 * 1024
_DESCRIPTIONS = {
    "idempotency_key": "Where the record stands in Kafka: every change is one of its own.",
    "event_type": "The reference table's name.",
    "schema_version": "The contract's version.",
    "trace_id": "Always null.",
    "occurred_at": "From when on the change is valid.",
    "source": "The topic.",
}


def changes_of(header: Header, topic: str, fields: tuple[Field, ...], keyed: Keyed) -> EventContract:
    """The event type of a reference table's changes: its silver table has one row per record.

    Where a key is gone there is nothing but the key, so that other fields are required is a rule over the row.
    """
    envelope = tuple(
        Field(
            name,
            LogicalType.TIMESTAMP if name == "occurred_at" else LogicalType.STRING,
            required=name != "trace_id",
            description=_DESCRIPTIONS[name],
        )
        for name in ENVELOPE
    )
    deleted = Field(DELETED, LogicalType.BOOLEAN, required=True, description="Whether the key is gone.")
    own = tuple(replace(field, required=field.name in keyed.key) for field in fields)
    rules = tuple(
        RowRule(
            f"{field.name}_is_there", f"{DELETED} OR {identifier(field.name)} IS NOT NULL", f"{field.name} is required"
        )
        for field in fields
        if field.required and field.name not in keyed.key
    )
    return EventContract(
        header=header,
        topic=topic,
        fields=(*envelope, *own, deleted),
        envelope=_SAID,
        identity=Identity((), KeyMode.TRUST, "occurred_at", None),
        row_rules=rules,
        keyed=keyed,
    )


def as_events(records: pl.DataFrame, contract: EventContract) -> tuple[pl.DataFrame, Mapping[int, Rejected]]:
    """The records that can be read as changes, with values that say so, and the others by their place.

    Args:
        records: Of one topic, columns of bronze. Values that are cut or no objects are left as they are: whoever reads
            them says what is wrong.
        contract: From `changes_of`.
    """
    faults: dict[int, Rejected] = {}
    values: list[bytes | None] = []
    for place, record in enumerate(records.select(_READ).iter_rows(named=True)):
        row = _row(record["value"], record["value_bytes"])
        said = record["value"] if row is None else _said(contract, record, row)
        if isinstance(said, Rejected):
            faults[place], said = said, record["value"]
        values.append(said)
    changed = pl.Series("value", values, pl.Binary)
    cut = (pl.col("value_bytes") > pl.col("value").bin.size()).fill_null(value=False)
    sizes = pl.when(cut).then("value_bytes").otherwise(changed.bin.size())
    read = records.with_columns(changed, sizes.cast(records["value_bytes"].dtype).alias("value_bytes"))
    return (read[[place for place in range(read.height) if place not in faults]] if faults else read), faults


def _row(value: bytes | None, value_bytes: int | None) -> dict[str, Any] | None:
    """What a value says, nothing for a tombstone; None where it is cut or no object."""
    if value is None:
        return {}
    if value_bytes is not None and value_bytes > len(value):
        return None
    try:
        row = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _said(contract: EventContract, record: Mapping[str, Any], row: Mapping[str, Any]) -> bytes | Rejected:
    """A record's value as that of an event, or why it can be none."""
    keyed, value = contract.keyed, record["value"]
    assert keyed is not None  # noqa: S101 - only contracts of `changes_of` come here
    names = _key(record["key"], contract, keyed)
    if isinstance(names, str):
        if any(row.get(name) is None for name in keyed.key):
            return _refused(contract, Reason.MISSING_FIELD, f"{names}, and the value does not say it")
        names = {}
    for name, said in names.items():
        if row.get(name) is not None and row[name] != said:
            return _refused(contract, Reason.ROW_RULE_VIOLATED, f"{name}: not the same in key and value")
    if row and keyed.valid_from is not None and row.get(keyed.valid_from) is None:
        return _refused(contract, Reason.MISSING_FIELD, f"{keyed.valid_from}: missing")
    at = (record["kafka_timestamp"] or record["ingested_at"]).isoformat(timespec="microseconds")
    before: dict[str, Any] = {
        _SAID["idempotency_key"]: "{topic_id}/{partition}/{offset}".format(**record),
        _SAID["event_type"]: contract.name,
        _SAID["schema_version"]: contract.header.version,
        _SAID["occurred_at"]: at if value is None or keyed.valid_from is None else row.get(keyed.valid_from),
        _SAID["source"]: contract.topic,
        DELETED: value is None,
        **{name: said for name, said in names.items() if name not in row},
    }
    head = msgspec.json.encode(before)
    # What the producer wrote goes on as it is written, behind its opening brace.
    return head[:-1] + b"," + value.lstrip()[1:] if row else head


def _refused(contract: EventContract, code: Reason, reason: str) -> Rejected:
    claims = Claims(contract.name, contract.header.version, contract.topic)
    return Rejected((code,), (reason,), claims, contract.label)


def _key(key: bytes | None, contract: EventContract, keyed: Keyed) -> dict[str, Any] | str:
    """The fields that a record's key says, or why it says none."""
    if key is None:
        return "the key is null"
    if len(key) > _MOST_KEY_BYTES:
        return f"the key is longer than {_MOST_KEY_BYTES} bytes"
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return "the key is not UTF-8"
    found: Any = None
    try:
        found = msgspec.json.decode(key)
    except (msgspec.DecodeError, RecursionError):
        found = text
    if isinstance(found, dict):
        missing = [name for name in keyed.key if found.get(name) is None]
        return f"the key has no {', '.join(missing)}" if missing else {name: found[name] for name in keyed.key}
    if len(keyed.key) > 1 or isinstance(found, list) or not text:
        return f"the key is not an object of {', '.join(keyed.key)}"
    (name,) = keyed.key
    kind = next(field.type for field in contract.fields if field.name == name)
    # A plain text may look like a number, and a plain number is one.
    plain = found if isinstance(found, str) or kind is not LogicalType.STRING else text
    return {name: plain}
