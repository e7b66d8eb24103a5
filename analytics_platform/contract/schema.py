"""The columns of every table, compiled from its contract: polars types for the frames, descriptions for the readers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import polars as pl
from polars.datatypes import DataType

from analytics_platform.contract.model import (
    EventContract,
    Field,
    LogicalType,
    MartContract,
    Operation,
    ReferenceContract,
)
from analytics_platform.contract.treatment import governing

INSTANT = pl.Datetime("us", "UTC")
"""Every instant of every table."""

_HEADERS = pl.List(pl.Struct({"name": pl.String, "value": pl.Binary}))
_TYPES: dict[LogicalType, DataType] = {
    LogicalType.STRING: pl.String(),
    LogicalType.INTEGER: pl.Int64(),
    LogicalType.NUMBER: pl.Float64(),
    LogicalType.BOOLEAN: pl.Boolean(),
    LogicalType.TIMESTAMP: INSTANT,
    LogicalType.DATE: pl.Date(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: DataType
    required: bool
    """Whether it is never null."""
    description: str


_RECORD = (
    Column("topic", pl.String(), required=True, description="Kafka topic of the record."),
    Column(
        "topic_id",
        pl.String(),
        required=True,
        description="Which log: cluster id and topic id, so that a topic made again is told apart.",
    ),
    Column("partition", pl.Int32(), required=True, description="Kafka partition of the record."),
    Column("offset", pl.Int64(), required=True, description="Offset of the record in its partition."),
    Column("kafka_timestamp", INSTANT, required=False, description="The record's timestamp; null if it has none."),
    Column(
        "timestamp_type",
        pl.String(),
        required=False,
        description="Who set it: create (the producer) or append (the broker).",
    ),
    Column("key", pl.Binary(), required=False, description="The record's key as it came."),
    Column(
        "value",
        pl.Binary(),
        required=False,
        description="The record's value as it came, cut to the longest the platform keeps; null for a tombstone.",
    ),
    Column(
        "value_bytes",
        pl.Int64(),
        required=False,
        description="The value's true length, in bytes; null for a tombstone.",
    ),
    Column(
        "headers",
        _HEADERS,
        required=False,
        description="The record's headers in order, a name perhaps twice; null when there are none.",
    ),
    Column(
        "ingested_at", INSTANT, required=True, description="When the micro-batch that brought the record was taken in."
    ),
)

BRONZE = (
    *_RECORD,
    Column(
        "gap_end",
        pl.Int64(),
        required=False,
        description="Null for records. Otherwise the row stands for offsets that were lost and accepted as lost, from offset up to this one.",
    ),
    Column(
        "forgotten_at",
        INSTANT,
        required=False,
        description="When the record's bytes were erased; null for all others.",
    ),
)
"""The columns of every bronze table."""

QUARANTINE = (
    *_RECORD,
    Column(
        "event_type",
        pl.String(),
        required=False,
        description="The event type the record claims; null if it could not be read.",
    ),
    Column(
        "schema_version",
        pl.String(),
        required=False,
        description="The schema version the record claims; null if it could not be read.",
    ),
    Column(
        "source", pl.String(), required=False, description="The source the record claims; null if it could not be read."
    ),
    Column(
        "codes",
        pl.List(pl.String),
        required=True,
        description="Reason codes, from the closed list in docs/quarantine.md.",
    ),
    Column(
        "reasons",
        pl.List(pl.String),
        required=True,
        description="The same in words, naming fields and rules but no values.",
    ),
    Column(
        "contract",
        pl.String(),
        required=False,
        description="The contract the record was held against, as event@version; null if none was found.",
    ),
    Column("contract_digest", pl.String(), required=True, description="sha256 of the contracts in force."),
    Column("status", pl.String(), required=True, description="new, replayed or discarded."),
    Column("status_at", INSTANT, required=True, description="Since when it has this status."),
    Column(
        "changed_by",
        pl.String(),
        required=False,
        description="The run or the person that gave it this status; null while it has its first.",
    ),
    Column("discarded_for", pl.String(), required=False, description="Why it was discarded, in that person's words."),
)
"""The columns of every quarantine table."""

LINEAGE = (
    Column("_topic", pl.String(), required=True, description="Kafka topic the row came from."),
    Column("_topic_id", pl.String(), required=True, description="Which log: cluster id and topic id."),
    Column("_partition", pl.Int32(), required=True, description="Kafka partition the row came from."),
    Column("_offset", pl.Int64(), required=True, description="Offset the row came from."),
    Column("_kafka_timestamp", INSTANT, required=False, description="The record's timestamp; null if it has none."),
    Column("_ingested_at", INSTANT, required=True, description="When the record was taken in."),
    Column(
        "_contract",
        pl.String(),
        required=True,
        description="The contract the row was checked against, as event@version.",
    ),
    Column("_key_hash", pl.Int64(), required=True, description="Hash of the idempotency key, to find copies fast."),
)
"""The columns that follow the contract's own in every silver table."""

PATCH = Column(
    "_patch", pl.String(), required=False, description="The patch that mended the record; null if it is as it was sent."
)
"""The last column of silver tables whose event has patches."""

WATERMARK = Column(
    "_watermark",
    INSTANT,
    required=False,
    description="The event type's watermark when the row was taken in: where occurred_at is before it, the row was late. "
    "Null as long as there was none.",
)
"""The last column of silver tables whose event has a watermark."""

SESSION = Column(
    "_session",
    INSTANT,
    required=True,
    description="Where windows are sessions: when the first row of the row's session was.",
)
"""What the SQL of a mart of sessions sees behind the columns of its silver tables; it stands in no table."""

FINALITY = (
    Column(
        "_status",
        pl.String(),
        required=True,
        description="open: rows of its window may still come in time. final: none may. "
        "restated: final, and changed since by rows that came late.",
    ),
    Column("_restated_at", INSTANT, required=False, description="When the newest late row came; null if none did."),
    Column(
        "_late_rows",
        pl.Int64(),
        required=True,
        description="How many rows came into its window after that was final.",
    ),
)
"""The columns that follow the contract's own in every mart."""

VERSION = (
    Column(
        "_valid_from",
        INSTANT,
        required=True,
        description="From when on the key held this, inclusive. Rows that end there as well stand for a deletion.",
    ),
    Column("_valid_to", INSTANT, required=False, description="Up to when it did, exclusive; null where it still does."),
    Column(
        "_commit",
        pl.Int64(),
        required=True,
        description="How many commits the table had with the one that brought the version.",
    ),
)
"""The columns that follow the contract's own in reference tables with history."""


def silver_columns(versions: Sequence[EventContract]) -> tuple[Column, ...]:
    """The columns of an event's silver table: those of its rows, and behind the event's own what the newest version takes from elsewhere."""
    columns = row_columns(versions)
    own = len(columns) - len(LINEAGE) - sum(one in columns for one in (PATCH, WATERMARK))
    newest = max(versions, key=lambda contract: contract.order)
    return (*columns[:own], *enrichment_columns(newest), *columns[own:])


def row_columns(versions: Sequence[EventContract]) -> tuple[Column, ...]:
    """The columns of an event's rows before they are enriched, lineage last.

    Args:
        versions: Its contracts; later ones describe the columns they have, columns (and fields of objects) that only
            earlier ones have follow, and a column that not all of them require may be null.
    """
    newest_first = sorted(versions, key=lambda contract: contract.order, reverse=True)
    fields: dict[str, list[Field]] = {}
    for contract in newest_first:
        for field in contract.fields:
            fields.setdefault(field.name, []).append(field)
    treatments = {name: field.treatment for name, field in governing(versions).items()}
    dropped = {name for name, found in treatments.items() if found is not None and found.op is Operation.DROP}
    own = (
        _column(
            reduce(together, same),
            required=len(same) == len(newest_first)
            and all(field.required for field in same)
            and same[0].name not in dropped,
        )
        for same in fields.values()
    )
    patch = (PATCH,) if any(contract.patches for contract in versions) else ()
    watermark = (WATERMARK,) if any(contract.watermark for contract in versions) else ()
    return (*own, *LINEAGE, *patch, *watermark)


def enrichment_columns(contract: EventContract) -> tuple[Column, ...]:
    """The columns that silver has from elsewhere, each enrichment's own time last; all are null where nothing is known."""
    return tuple(
        column
        for item in contract.enrichments
        for column in (
            *(_column(field, required=False) for field in item.columns),
            Column(
                item.enriched_at,
                INSTANT,
                required=False,
                description=f"Since when the row has what {item.source} knew of it, if anything; null "
                "while nobody could ask.",
            ),
        )
    )


def together(field: Field, older: Field) -> Field:
    """A field with what only an older version of it has inside added behind; the versions agree on its type."""
    known = {inner.name: inner for inner in older.fields}
    fields = (
        *(together(inner, known[inner.name]) if inner.name in known else inner for inner in field.fields),
        *(inner for inner in older.fields if inner.name not in {one.name for one in field.fields}),
    )
    item = together(field.item, older.item) if field.item is not None and older.item is not None else field.item
    return replace(field, fields=fields, item=item)


def reference_columns(contract: ReferenceContract) -> tuple[Column, ...]:
    """The columns of a reference table; with history what is no part of the key may be null, where that was deleted."""
    if not contract.history:
        return tuple(_column(field, required=field.required) for field in contract.fields)
    own = (_column(field, required=field.name in contract.primary_key) for field in contract.fields)
    place = [column for column in LINEAGE if column.name in {"_topic_id", "_partition", "_offset", "_ingested_at"}]
    return (*own, *VERSION, *(place if contract.changes is not None else ()))


def gold_columns(contract: MartContract) -> tuple[Column, ...]:
    """The columns of a mart: its contract's, which its SQL makes and other marts see, then how final each row is."""
    return (*(_column(field, required=field.required) for field in contract.fields), *FINALITY)


def schema_of(columns: Iterable[Column]) -> dict[str, DataType]:
    """Names and types of columns, in their order."""
    return {column.name: column.type for column in columns}


def polars_schema(fields: Iterable[Field]) -> dict[str, DataType]:
    """Names and types of fields, in their order."""
    return {field.name: polars_type(field) for field in fields}


def polars_type(field: Field) -> DataType:
    """The type of a field; an object becomes a struct, an array a list."""
    if field.type is LogicalType.OBJECT:
        return pl.Struct(polars_schema(field.fields))
    if field.type is LogicalType.ARRAY:
        return pl.List(pl.String() if field.item is None else polars_type(field.item))
    return _TYPES[field.type]


def silver_schema(versions: Sequence[EventContract]) -> dict[str, DataType]:
    """Names and types of an event's silver table, lineage last; see `silver_columns`."""
    return schema_of(silver_columns(versions))


def row_schema(versions: Sequence[EventContract]) -> dict[str, DataType]:
    """Names and types of an event's rows before they are enriched; see `row_columns`."""
    return schema_of(row_columns(versions))


BRONZE_SCHEMA = schema_of(BRONZE)
QUARANTINE_SCHEMA = schema_of(QUARANTINE)
LINEAGE_SCHEMA = schema_of(LINEAGE)


def _column(field: Field, *, required: bool) -> Column:
    return Column(field.name, polars_type(field), required, field.description)
