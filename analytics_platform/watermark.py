"""Watermarks: how far the time of an event type has come, as its silver table knows it.

The watermark is the newest `occurred_at` there has been, less the lateness that the contract allows; where the contract
names sources, that of the one which is furthest behind. It never goes back, and no event moves it beyond the moment in
which it was taken in, so a broken clock cannot close what is yet to come.

It stands in the `txn` actions of the silver table, and moves in the commit that brings the rows. Every row keeps the
watermark that it met, so whether it was late is a fact about the row, and stays one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics_platform.contract.model import EventContract, Watermark
from analytics_platform.contract.schema import INSTANT, WATERMARK
from analytics_platform.lake.files import Pinned, Snapshot

AT, SEEN, SINCE = "watermark", "watermark:seen", "watermark:since"
"""Application ids in the silver table: the watermark, and when the newest and the first row were taken in. All are
microseconds since 1970; those of a source have a hash of its name behind, since names are no business of a table's log."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_PLACE = ["_topic_id", "_partition", "_offset"]


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an event type has come."""

    at: datetime | None
    """The watermark; None as long as not every source has come."""
    since: datetime | None
    """When its first row was taken in; None before that."""
    seen: datetime | None
    """When the newest was."""
    idle_after: timedelta


def declared(versions: Sequence[EventContract]) -> Watermark | None:
    """What the newest contract of an event says of its time."""
    return max(versions, key=lambda contract: contract.order).watermark


def reached(table: Pinned | None, watermark: Watermark) -> Reached:
    """How far a silver table has come."""
    at, since, seen = (None if table is None else _read(table, name) for name in (AT, SINCE, SEEN))
    return Reached(at, since, seen, watermark.idle_after)


def of_all(inputs: Sequence[Reached]) -> datetime | None:
    """How far several event types have come together: the one furthest behind, but for those that are idle.

    One that has never come is waited for as long, since the first row of any.
    """
    first = min((one.since for one in inputs if one.since is not None), default=None)
    newest = max((one.seen for one in inputs if one.seen is not None), default=None)
    if first is None or newest is None:
        return None
    active = [one.at for one in inputs if newest - (one.seen or first) <= one.idle_after]
    found = [at for at in active if at is not None]
    return min(found) if found and len(found) == len(active) else None


def stamped(rows: pl.DataFrame, table: Pinned, versions: Sequence[EventContract]) -> pl.DataFrame:
    """Rows that are about to enter a silver table, with the watermark that they meet there."""
    if WATERMARK.name not in rows.columns:
        return rows
    at = None if declared(versions) is None else _read(table, AT)
    return rows.with_columns(pl.lit(at, INSTANT).alias(WATERMARK.name))


def late(rows: pl.DataFrame) -> int:
    """How many rows of silver were later than allowed."""
    if WATERMARK.name not in rows.columns:
        return 0
    return int(rows.select((pl.col("occurred_at") < pl.col(WATERMARK.name)).sum()).item())


def moved(rows: pl.DataFrame, table: Pinned, versions: Sequence[EventContract]) -> Mapping[str, int]:
    """What the commit that brings some new rows records of the watermark."""
    watermark = declared(versions)
    if watermark is None or rows.is_empty():
        return {}
    times = rows.select(
        pl.col("source") if "source" in rows.columns else pl.lit(None, pl.String).alias("source"),
        at=pl.min_horizontal("occurred_at", "_ingested_at"),
        seen=pl.col("_ingested_at"),
    )
    before = _read(table, SEEN)
    newest = _later(before, times["seen"])
    progress = {SEEN: number(newest)} | ({SINCE: number(newest)} if before is None else {})
    if watermark.sources:
        since = newest if before is None else _read(table, SINCE)
        marks = []
        for source in watermark.sources:
            mine = times.filter(pl.col("source") == source)
            mark, seen = (_of_source(name, source) for name in (AT, SEEN))
            at, last = _read(table, mark), _read(table, seen)
            if mine.height:
                at, last = _later(at, mine["at"]), _later(last, mine["seen"])
                progress |= {mark: number(at), seen: number(last)}
            if newest - (last or since or newest) <= watermark.idle_after:
                marks.append(at)  # None where it has not come yet, and may well
        found = [at for at in marks if at is not None]
        high = min(found) if found and len(found) == len(marks) else None
    else:
        high = _later(None, times["at"])
    if high is None:
        return progress
    return progress | {AT: number(max(_less(high, watermark.lateness), _read(table, AT) or _FIRST))}


def remembered(rows: pl.DataFrame, snapshot: Snapshot, standing: pl.DataFrame) -> pl.DataFrame:
    """Rows that are judged again, with the watermark that they met when they first came.

    Each has its own where it stands in the table; a row that does not has that of the micro-batch that brought it, or of
    the last one before that.

    Args:
        rows: In the columns of silver.
        snapshot: The table.
        standing: What the table holds of the micro-batches that brought them.
    """
    if WATERMARK.name not in rows.columns or rows.is_empty():
        return rows
    name = WATERMARK.name
    own = standing.unique(_PLACE).select(*_PLACE, own=name, stands=True)
    found = rows.drop(name).join(own, on=_PLACE, how="left", maintain_order="left")
    if found["stands"].null_count():
        first = rows["_ingested_at"].min()
        batches = pl.concat([_batch_before(snapshot, first), standing.select("_ingested_at", name)])
        # Rows that a replay brought have met more than their batch did; null is the least.
        least = pl.when(pl.col(name).null_count() == 0).then(pl.col(name).min())
        batches = batches.group_by("_ingested_at").agg(of_batch=least).sort("_ingested_at")
        order = found.with_row_index("_row").sort("_ingested_at")
        found = order.join_asof(batches, on="_ingested_at").sort("_row").drop("_row")
    else:
        found = found.with_columns(of_batch=pl.lit(None, INSTANT))
    known = pl.when(pl.col("stands")).then("own").otherwise("of_batch").alias(name)
    return found.with_columns(known).select(rows.columns)


def _batch_before(snapshot: Snapshot, first: object) -> pl.DataFrame:
    """`_ingested_at` and watermark of the last rows that were taken in before an instant; reads only files that may hold them."""
    at = "_ingested_at"
    near = snapshot.touching(at, [(_FIRST, first)])
    if f"min.{at}" in near.files.columns and near.files.height and not near.files[f"min.{at}"].null_count():
        near = near.touching(at, [(near.files[f"min.{at}"].max(), first)])
    before = near.scan().filter(pl.col(at) < first).select(at, WATERMARK.name)
    return before.filter(pl.col(at) == pl.col(at).max()).collect()


def _of_source(name: str, source: str) -> str:
    return f"{name}:{hashlib.sha256(source.encode()).hexdigest()[:12]}"


def instant(stored: int | None) -> datetime | None:
    """What a number in a table's log stands for."""
    return None if stored is None else _EPOCH + timedelta(microseconds=stored)


def number(at: datetime) -> int:
    """As it stands there."""
    return (at - _EPOCH) // _US


NOTHING = number(_FIRST)
"""Stands where there was a watermark once and is none any more."""


def _read(table: Pinned, name: str) -> datetime | None:
    return instant(table.progress(name))


def _later(before: datetime | None, times: pl.Series) -> datetime:
    newest = times.max()
    assert isinstance(newest, datetime)  # noqa: S101 - both times are required and typed, and there is a row
    return newest if before is None else max(before, newest)


def _less(at: datetime, by: timedelta) -> datetime:
    return _FIRST if at - _FIRST < by else at - by
