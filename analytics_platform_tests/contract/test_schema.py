from pathlib import Path

import polars as pl

from analytics_platform.contract.load import load_domain
from analytics_platform.contract.schema import (
    BRONZE_SCHEMA,
    LINEAGE_SCHEMA,
    QUARANTINE_SCHEMA,
    gold_columns,
    polars_schema,
    reference_columns,
    schema_of,
    silver_columns,
    silver_schema,
)
from analytics_platform_tests.contract.tree import ORDER, write_tree

INSTANT = pl.Datetime("us", "UTC")
ENVELOPE = {
    "idempotency_key": pl.String,
    "event_type": pl.String,
    "schema_version": pl.String,
    "trace_id": pl.String,
    "occurred_at": INSTANT,
    "source": pl.String,
}
ORDER_FIELDS = {
    "order_id": pl.String,
    "placed_at": INSTANT,
    "cents": pl.Int64,
    "currency": pl.String,
    "lines": pl.List(pl.Struct({"sku": pl.String, "weight_kg": pl.Float64})),
}
LINEAGE = {
    "_topic": pl.String,
    "_topic_id": pl.String,
    "_partition": pl.Int32,
    "_offset": pl.Int64,
    "_kafka_timestamp": INSTANT,
    "_ingested_at": INSTANT,
    "_contract": pl.String,
    "_key_hash": pl.Int64,
}
RECORD = {
    "topic": pl.String,
    "topic_id": pl.String,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "kafka_timestamp": INSTANT,
    "timestamp_type": pl.String,
    "key": pl.Binary,
    "value": pl.Binary,
    "value_bytes": pl.Int64,
    "headers": pl.List(pl.Struct({"name": pl.String, "value": pl.Binary})),
    "ingested_at": INSTANT,
}


def test_silver(tmp_path: Path) -> None:
    domain = load_domain(write_tree(tmp_path) / "shop")
    (event,) = domain.events

    assert list(silver_schema([event]).items()) == list({**ENVELOPE, **ORDER_FIELDS, **LINEAGE}.items())
    assert polars_schema(event.fields) == {**ENVELOPE, **ORDER_FIELDS}
    columns = {column.name: column for column in silver_columns([event])}
    assert (columns["cents"].required, columns["cents"].description) == (True, "Total.")
    assert not columns["currency"].required


def test_silver_of_several_versions(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    newer = (
        ORDER.replace("version: 1.0.0", "version: 1.1.0")
        .replace("      - {name: currency, logicalType: string, enum: [{value: EUR}, {value: USD}]}\n", "")
        .replace("currency IS NOT NULL", "coupon IS NOT NULL")
        .replace("description: Total.", "description: Total with tax.")
        .replace("    quality:", "      - {name: coupon, logicalType: string, required: true}\n    quality:")
    )
    (folder / "shop/order_placed/1.1.0.odcs.yaml").write_text(newer)
    columns = {column.name: column for column in silver_columns(load_domain(folder / "shop").events)}

    payload = [name for name in columns if name not in {**ENVELOPE, **LINEAGE}]
    assert payload == ["order_id", "placed_at", "cents", "lines", "coupon", "currency"]
    assert columns["cents"].description == "Total with tax."
    assert columns["cents"].required
    assert not columns["coupon"].required


def test_other_layers(tmp_path: Path) -> None:
    domain = load_domain(write_tree(tmp_path) / "shop")

    assert schema_of(reference_columns(domain.references[0])) == {"code": pl.String, "digits": pl.Int64}
    assert schema_of(gold_columns(domain.marts[0])) == {
        "day": pl.Date,
        "currency": pl.String,
        "orders": pl.Int64,
        "mean_cents": pl.Float64,
        "_status": pl.String,
        "_restated_at": INSTANT,
        "_late_rows": pl.Int64,
    }
    assert {**RECORD, "gap_end": pl.Int64, "forgotten_at": INSTANT} == BRONZE_SCHEMA
    assert LINEAGE == LINEAGE_SCHEMA
    assert {
        **RECORD,
        "event_type": pl.String,
        "schema_version": pl.String,
        "source": pl.String,
        "codes": pl.List(pl.String),
        "reasons": pl.List(pl.String),
        "contract": pl.String,
        "contract_digest": pl.String,
        "status": pl.String,
        "status_at": INSTANT,
        "changed_by": pl.String,
        "discarded_for": pl.String,
    } == QUARANTINE_SCHEMA
