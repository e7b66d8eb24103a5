"""Contracts and bronze records built by hand, for tests of what is done with them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.model import (
    ENVELOPE,
    EventContract,
    Field,
    Header,
    Identity,
    KeyMode,
    LogicalType,
    RowRule,
    Rules,
)

KAFKA_TIME = datetime(2024, 1, 1, tzinfo=UTC)
INGESTED = datetime(2024, 1, 2, tzinfo=UTC)

RECORD_SCHEMA = pl.Schema(
    {
        "topic": pl.String(),
        "topic_id": pl.String(),
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "kafka_timestamp": pl.Datetime("us", "UTC"),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "value_bytes": pl.Int64(),
        "headers": pl.List(pl.Struct({"name": pl.String, "value": pl.Binary})),
        "ingested_at": pl.Datetime("us", "UTC"),
    }
)


@cache
def one_connection() -> duck.DuckDBPyConnection:
    """Opening one takes longer than most tests."""
    return duck.connect(threads=1)


def field(name: str, kind: str = "string", required: bool = True, **rest: Any) -> Field:
    return Field(name, LogicalType(kind), required, f"The {name}.", **rest)


OWN_ENVELOPE = (
    field("idempotency_key"),
    field("event_type"),
    field("schema_version"),
    field("trace_id"),
    field("occurred_at", "timestamp"),
    field("source", required=False),
)


def contract(
    name: str = "order_placed",
    version: str = "1.0.0",
    *,
    topic: str = "orders",
    payload: tuple[Field, ...] = (),
    by: tuple[str, ...] = ("order_id",),
    mode: KeyMode = KeyMode.VERIFY,
    envelope: Mapping[str, str] | None = None,
    row_rules: tuple[RowRule, ...] = (),
) -> EventContract:
    header = Header(
        id=name,
        name=name,
        version=version,
        status="active",
        domain="shop",
        description=name,
        owners=(),
        tags=(),
        path=Path("x"),
        digest=f"{name}@{version}",
    )
    return EventContract(
        header=header,
        topic=topic,
        fields=(*OWN_ENVELOPE, *payload),
        envelope=envelope or {one: one for one in ENVELOPE},
        identity=Identity(by=by, mode=mode, time_field=None, window=timedelta(days=1)),
        row_rules=row_rules,
    )


ORDER = contract(
    payload=(
        field("order_id", rules=Rules(pattern="O-[0-9]{3}|X")),
        field("currency", rules=Rules(enum=("EUR", "USD"))),
        field("total_cents", "integer", rules=Rules(minimum=0)),
        field("weight", "number", required=False),
        field("gift", "boolean", required=False),
        field("due", "date", required=False),
        field("note", required=False, rules=Rules(max_length=5)),
        field("ship", "object", required=False, fields=(field("city"), field("sent_at", "timestamp", required=False))),
        field(
            "items",
            "array",
            required=False,
            rules=Rules(min_items=1, max_items=3),
            item=field(
                "item",
                "object",
                fields=(
                    field("sku"),
                    field("quantity", "integer", rules=Rules(minimum=1)),
                    field("seen", "array", required=False, item=field("at", "timestamp")),
                ),
            ),
        ),
        field("tags", "array", required=False, item=field("tag", required=False)),
    )
)
"""Every type, also inside objects and arrays, and most rules."""


def order(of: EventContract = ORDER, **changes: Any) -> dict[str, Any]:
    """A good event of ORDER, changed; its key is right unless given. A change to `...` leaves the field out."""
    event = {
        "idempotency_key": None,
        "event_type": of.name,
        "schema_version": of.header.version,
        "trace_id": "t1",
        "occurred_at": "2013-01-01T10:17:00Z",
        "order_id": "O-001",
        "currency": "EUR",
        "total_cents": 100,
    } | changes
    if event["idempotency_key"] is None:
        event["idempotency_key"] = idempotency_key(of, event)
    return {name: value for name, value in event.items() if value is not ...}


def text(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode()


def records(
    values: Sequence[bytes | None],
    *,
    topic: str = "orders",
    first: int = 0,
    headers: Sequence[Mapping[str, bytes | None]] | None = None,
) -> pl.DataFrame:
    """Bronze records of one partition."""
    named = [
        None if headers is None else [{"name": k, "value": v} for k, v in headers[i].items()]
        for i in range(len(values))
    ]
    return pl.DataFrame(
        [
            (
                topic,
                "id-1",
                0,
                first + i,
                KAFKA_TIME,
                None,
                value,
                None if value is None else len(value),
                named[i],
                INGESTED,
            )
            for i, value in enumerate(values)
        ],
        schema=RECORD_SCHEMA,
        orient="row",
    )
