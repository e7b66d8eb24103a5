"""Quarantine: what could not become silver, with its bytes, its coordinates and its reasons."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from analytics_platform.bronze import PLACE, RAW, within
from analytics_platform.contract.schema import QUARANTINE_SCHEMA
from analytics_platform.duck import literal
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.lake import files
from analytics_platform.lake.files import Snapshot, overlap_sql
from analytics_platform.lake.progress import Coordinates
from analytics_platform.lake.table import TableSpec

NEW, REPLAYED, DISCARDED = "new", "replayed", "discarded"
"""What became of a row: it waits; it entered silver after all; somebody gave it up."""

COORDINATES = Coordinates("topic_id", "partition", "topic")
KEY = ["topic", "topic_id", "partition", "offset"]

SCHEMA: Mapping[str, pl.DataType] = QUARANTINE_SCHEMA
"""Columns of every quarantine table: bronze's, what the record claims to be (null where that cannot be read), reason
codes from the closed list `Reason`, readable reasons without values, and what became of the row."""


def spec(domain: str) -> TableSpec:
    """The quarantine of a domain."""
    return TableSpec(
        "quarantine",
        domain,
        SCHEMA,
        ("partition", "offset", "ingested_at", "status_at"),
        f"Records of the domain {domain} that could not become silver, with the reasons.",
        RAW,
    )


def standing(snapshot: Snapshot, log: Log, ranges: Sequence[OffsetRange]) -> pl.DataFrame:
    """The rows that stand in some ranges of one log."""
    near = snapshot.touching("offset", [(item.start, item.end) for item in ranges])
    mine = (pl.col("topic") == log.topic) & (pl.col("topic_id") == log.id) & within(ranges)
    return near.scan().filter(mine).collect()


def slice_sql(log: Log, ranges: Sequence[OffsetRange]) -> str:
    """The predicate for the rows of some ranges of one log."""
    topic, log_id = (text.replace("'", "''") for text in (log.topic, log.id))
    parts = " OR ".join(
        f"(partition = {item.partition} AND {overlap_sql('offset', [(item.start, item.end)])})" for item in ranges
    )
    return f"topic = '{topic}' AND topic_id = '{log_id}' AND ({parts})"


def places_sql(topic: str, rows: pl.DataFrame) -> str:
    """The predicate for exactly the rows of one topic that stood at some places."""
    return f"topic = {literal(topic)} AND {files.places_sql(rows, PLACE)}"


def rows(records: pl.DataFrame, rejected: pl.DataFrame, digest: str, at: datetime) -> pl.DataFrame:
    """Rejected records as rows of the quarantine.

    Args:
        records: Bronze records of one topic.
        rejected: At most one row per record: topic_id, partition, offset, what it claims, codes, reasons, contract.
        digest: sha256 of the contracts they were judged by.
        at: When.
    """
    joined = rejected.join(records, on=["topic_id", "partition", "offset"], how="inner", maintain_order="left")
    return joined.with_columns(
        contract_digest=pl.lit(digest),
        status=pl.lit(NEW),
        status_at=pl.lit(at, SCHEMA["status_at"]),
        changed_by=None,
        discarded_for=None,
    ).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def settled(
    standing: pl.DataFrame,
    wanted: pl.DataFrame,
    good: pl.DataFrame,
    at: datetime,
    by: str,
    *,
    revive: bool = False,
) -> pl.DataFrame:
    """What a slice of the quarantine should be, given what stands there and how its records are judged now.

    Rows judged the same stay as they are, to the letter. Rows whose reasons changed get the new ones. Rows that are
    good now become `replayed`; rows that were `replayed` and are bad again become `new`. A discarded row stays so.

    Args:
        standing: The slice as it is.
        wanted: Rows that should be there, in the table's columns.
        good: Coordinates (`KEY`) of records that are valid now.
        at: When.
        by: Who is at work, for rows whose status changes.
        revive: Whether discarded rows that are good now become `replayed` too.
    """
    now, me = pl.lit(at, SCHEMA["status_at"]), pl.lit(by, SCHEMA["changed_by"])
    first = standing.unique(KEY, keep="first", maintain_order=True)
    healed = first.join(good.select(KEY), on=KEY, how="semi", maintain_order="left")
    waits = pl.col("status").is_in([NEW, DISCARDED] if revive else [NEW])
    healed = healed.with_columns(
        status_at=pl.when(waits).then(now).otherwise("status_at"),
        changed_by=pl.when(waits).then(me).otherwise("changed_by"),
        discarded_for=pl.when(waits).then(None).otherwise("discarded_for"),
        status=pl.when(waits).then(pl.lit(REPLAYED)).otherwise("status"),
    )
    both = first.join(
        wanted.select(
            *KEY, new_codes="codes", new_reasons="reasons", new_contract="contract", new_digest="contract_digest"
        ),
        on=KEY,
        how="inner",
        maintain_order="left",
    )
    same = (
        (pl.col("codes") == pl.col("new_codes"))
        & (pl.col("reasons") == pl.col("new_reasons"))
        & pl.col("contract").eq_missing(pl.col("new_contract"))
    )
    back = pl.col("status") == REPLAYED
    both = both.with_columns(
        codes="new_codes",
        reasons="new_reasons",
        contract="new_contract",
        contract_digest=pl.when(same).then("contract_digest").otherwise("new_digest"),
        status_at=pl.when(back).then(now).otherwise("status_at"),
        changed_by=pl.when(back).then(me).otherwise("changed_by"),
        status=pl.when(back).then(pl.lit(NEW)).otherwise("status"),
    ).select(list(SCHEMA))
    added = wanted.join(first.select(KEY), on=KEY, how="anti", maintain_order="left")
    return pl.concat([healed, both, added]).sort(KEY)


def given_up(rows: pl.DataFrame, reason: str, at: datetime, by: str) -> pl.DataFrame:
    """The rows with those that were `new` discarded: they stay out of silver until a replay names them.

    Args:
        rows: In the table's columns. Other statuses stay: a `replayed` row is in silver.
        reason: Why, in words.
        at: When.
        by: Who.
    """
    waits = pl.col("status") == NEW
    return rows.with_columns(
        status_at=pl.when(waits).then(pl.lit(at, SCHEMA["status_at"])).otherwise("status_at"),
        changed_by=pl.when(waits).then(pl.lit(by)).otherwise("changed_by"),
        discarded_for=pl.when(waits).then(pl.lit(reason)).otherwise("discarded_for"),
        status=pl.when(waits).then(pl.lit(DISCARDED)).otherwise("status"),
    )


def discarded(rows: pl.DataFrame) -> pl.DataFrame:
    """Coordinates (`KEY`) of the rows that somebody gave up."""
    return rows.filter(pl.col("status") == DISCARDED).select(KEY)
