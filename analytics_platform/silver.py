"""Silver: one typed row per idempotency key.

Dedupe needs no index and no MERGE. Two copies of an event agree on the time among its business identifiers (or, where
the contract has no such time, lie within its declared window), so only files whose range of that time meets a minute of
the batch can hold a copy. The files' statistics name them; the batch is anti-joined against nothing but their keys.
Cost follows the batch, not the table, and the answer is exact over all history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics_platform.contract.model import Domain, EventContract
from analytics_platform.contract.schema import silver_schema
from analytics_platform.contract.treatment import personal_columns
from analytics_platform.erasure import NOTHING, Forgotten
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.progress import Coordinates
from analytics_platform.lake.table import Lake, TableSpec

COORDINATES = Coordinates("_topic_id", "_partition")

PLACE = ("_topic_id", "_partition", "_offset")
"""The columns that say where in Kafka a row came from."""

REWRITES = "rewrites"
"""The application id that counts the commits which replaced rows; marts that have not seen the newest start over."""

ORDER = ("_ingested_at", "_partition", "_offset")
"""The order in which rows of one log arrived; of two rows with one key the first one stays."""


def spec(versions: Sequence[EventContract]) -> TableSpec:
    """The silver table of an event type, as the versions of its contract have it."""
    contract = newest(versions)
    times = dict.fromkeys(("occurred_at", contract.identity.time_field or "occurred_at"))
    return TableSpec(
        "silver",
        contract.name,
        silver_schema(versions),
        (*times, "_partition", "_offset", "_ingested_at"),
        contract.header.description,
        personal_columns([field for version in versions for field in version.fields]),
    )


def newest(versions: Sequence[EventContract]) -> EventContract:
    """The contract that decides what all versions of an event type share: its identity and description."""
    return max(versions, key=lambda contract: contract.order)


def rewrites(lake: Lake, domain: Domain) -> dict[str, int]:
    """How often each silver table of a domain has been rewritten so far, by name."""
    found = {}
    for name in {event.name for event in domain.events}:
        table = lake.newest(spec(domain.versions_of(name)))
        found[name] = 0 if table is None else table.transaction_version(REWRITES) or 0
    return found


@dataclass(frozen=True, slots=True)
class Split:
    """A batch of valid rows, told apart."""

    kept: pl.DataFrame
    """First of its key, and new to the table; sorted by the identity's time, so that files stay narrow in time."""
    duplicates: pl.DataFrame


def split(
    rows: pl.DataFrame,
    contract: EventContract,
    snapshot: Snapshot,
    *,
    beside: pl.Expr | None = None,
    forgotten: Forgotten = NOTHING,
) -> Split:
    """Tell first copies from later ones, within the batch and against one version of the table.

    Args:
        rows: Valid rows, in the columns of silver, with `_key_hash`.
        contract: Says which time bounds the search.
        snapshot: The version of the table that the rows will be committed against.
        beside: Which rows of the table count; `None` for all.
        forgotten: Events that must not come back: all their copies count as later ones.
    """
    ordered = rows.sort(ORDER)
    first = ordered.unique("idempotency_key", keep="first", maintain_order=True)
    known = _known(first, contract, snapshot, beside)
    kept = first.join(known, on="idempotency_key", how="anti", maintain_order="left")
    kept = kept.filter(~forgotten.among(kept["idempotency_key"]))
    duplicates = ordered.join(
        kept.select("_topic_id", "_partition", "_offset"), on=["_topic_id", "_partition", "_offset"], how="anti"
    )
    time = contract.identity.time_field or "occurred_at"
    return Split(kept.sort(time, *ORDER), duplicates)


@dataclass(frozen=True, slots=True)
class Late:
    """Valid rows that arrived long ago and enter only now, told apart."""

    kept: pl.DataFrame
    """First of its key, also before every copy in the table; sorted as in `Split`."""
    overtaken: pl.DataFrame
    """Rows of the table that arrived after a copy among `kept`, and give way to it."""


def late(rows: pl.DataFrame, contract: EventContract, snapshot: Snapshot) -> Late:
    """Tell which rows enter a table that has gone on without them, and which of its rows they replace.

    The outcome is that of a table which had them from the beginning: of two copies the one that arrived first stays.

    Args:
        rows: As for `split`.
        contract: Likewise.
        snapshot: Likewise.
    """
    first = rows.sort(ORDER).unique("idempotency_key", keep="first", maintain_order=True)
    copies = _copies(first, contract, snapshot, None).collect()
    there = copies.select("idempotency_key", *(pl.col(name).alias(f"{name}_there") for name in ORDER))
    met = first.join(there, on="idempotency_key", how="inner")
    before = pl.lit(value=False)
    for name in reversed(ORDER):
        before = (pl.col(name) < pl.col(f"{name}_there")) | ((pl.col(name) == pl.col(f"{name}_there")) & before)
    behind = met.filter(~before)["idempotency_key"].unique().implode()
    kept = first.filter(~pl.col("idempotency_key").is_in(behind))
    time = contract.identity.time_field or "occurred_at"
    return Late(
        kept.sort(time, *ORDER), copies.filter(pl.col("idempotency_key").is_in(kept["idempotency_key"].implode()))
    )


def _known(first: pl.DataFrame, contract: EventContract, snapshot: Snapshot, beside: pl.Expr | None) -> pl.DataFrame:
    """Which keys of the batch the table holds: one column, `idempotency_key`."""
    return _copies(first, contract, snapshot, beside).select(pl.col("idempotency_key").unique()).collect()


def _copies(first: pl.DataFrame, contract: EventContract, snapshot: Snapshot, beside: pl.Expr | None) -> pl.LazyFrame:
    """The rows of the table that have a key of the batch, or at least its hash."""
    near = _overlapping(first, contract, snapshot).scan()
    if beside is not None:
        near = near.filter(beside)
    hashes = first.select(pl.col("_key_hash").unique())
    # A 64-bit hash decides for nearly every row; the key itself is read for the few that hit.
    hits = near.select("_key_hash").join(hashes.lazy(), on="_key_hash", how="semi").collect()
    confirm = hits["_key_hash"].unique().implode()
    return near.filter(pl.col("_key_hash").is_in(confirm)) if hits.height else near.clear()


def _overlapping(first: pl.DataFrame, contract: EventContract, snapshot: Snapshot) -> Snapshot:
    if first.is_empty():
        return Snapshot(snapshot.schema, snapshot.files.clear())
    time, window = contract.identity.time_field, contract.identity.window
    if time is None:
        reach = window or timedelta(0)
        low, high = first["occurred_at"].min(), first["occurred_at"].max()
        assert isinstance(low, datetime)  # noqa: S101 - occurred_at is required and typed
        assert isinstance(high, datetime)  # noqa: S101
        return snapshot.touching(
            "occurred_at", [(_moved(low, -reach), _moved(high, reach + timedelta(microseconds=1)))]
        )
    minutes = first[time].dt.truncate("1m").unique().to_list()
    return snapshot.touching(time, [(minute, _moved(minute, timedelta(minutes=1))) for minute in minutes])


_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def _moved(at: datetime, by: timedelta) -> datetime:
    """An instant moved, but not out of the calendar: the least that statistics say is cut, so the last one is beyond it."""
    try:
        return at + by
    except OverflowError:
        return _LAST if by > timedelta(0) else _FIRST
