"""What the platform will say of records that are not yet sent: they are decoded and checked by its own functions."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl
import pyarrow as pa

from analytics_platform import duck
from analytics_platform.contract.check import check
from analytics_platform.contract.decode import decode
from analytics_platform.contract.model import EventContract
from analytics_platform.contract.schema import BRONZE_SCHEMA

Refusal = tuple[tuple[str, ...], tuple[str, ...]]
"""Reasons and codes with which a record would be quarantined; no codes where only its producer can go wrong."""

_HEADERS = pa.list_(pa.struct([("name", pa.large_string()), ("value", pa.large_binary())]))
_MEANT = "_meant"


def header_lists(headers: Sequence[Sequence[tuple[str, bytes | None]]]) -> pl.Series:
    """The headers of records as bronze holds them; most records have those of another."""
    distinct = {one: number for number, one in enumerate(dict.fromkeys(map(tuple, headers)))}
    listed = [[{"name": name, "value": value} for name, value in one] for one in distinct]
    # Through Arrow: polars takes several times as long to make a column of lists from Python's.
    column = pl.Series(pa.array(listed, _HEADERS), dtype=BRONZE_SCHEMA["headers"])
    return column.gather([distinct[tuple(one)] for one in headers])


def refusals(
    written: pl.DataFrame,
    contracts: Sequence[EventContract],
    *,
    max_value_bytes: int,
    now: datetime,
    connection: duck.DuckDBPyConnection,
) -> Mapping[int, Refusal]:
    """What is wrong with records, by their place; those without a fault are not in it.

    Args:
        written: Columns place (each once), topic, label (of the contract by which it was written), key, value, headers.
        contracts: All versions of all event types of these topics, reading JSON.
        max_value_bytes: What the platform takes of a value.
        now: When they would be taken in.
        connection: See `duck.confined`.
    """
    size = pl.col("value").bin.size()
    records = written.select(
        "topic",
        pl.lit("").alias("topic_id"),
        pl.lit(0, pl.Int32).alias("partition"),
        pl.col("place").cast(pl.Int64).alias("offset"),
        pl.lit(None, BRONZE_SCHEMA["kafka_timestamp"]).alias("kafka_timestamp"),
        "key",
        pl.when(size <= max_value_bytes).then("value").otherwise(pl.col("value").bin.slice(0, max_value_bytes)),
        size.cast(pl.Int64).alias("value_bytes"),
        "headers",
        pl.lit(now, BRONZE_SCHEMA["ingested_at"]).alias("ingested_at"),
    )
    meant = written.select(pl.col("place").cast(pl.Int64).alias("_offset"), pl.col("label").alias(_MEANT))
    by_label = {one.label: one for one in contracts}
    decoded = decode(records, contracts, connection=connection)
    rejected = [decoded.rejected]
    found: dict[int, Refusal] = {}
    for rows in decoded.rows.values():
        for (label,), part in rows.partition_by("_contract", maintain_order=True, as_dict=True).items():
            rejected.append(check(part, by_label[str(label)], connection=connection).rejected)
            others = part.select("_offset").join(meant, on="_offset").filter(pl.col(_MEANT) != label)
            for place, by in others.iter_rows():
                found[place] = ((f"would be read by {label}, not by {by}",), ())
    for place, reasons, codes in pl.concat(rejected).select("offset", "reasons", "codes").iter_rows():
        found[place] = tuple(reasons), tuple(codes)
    return found
