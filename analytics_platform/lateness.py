"""Which events came later than their contract allows, by source and by how much."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from analytics_platform import silver, watermark
from analytics_platform.contract.model import Domain, EventContract
from analytics_platform.contract.schema import WATERMARK
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake

SCHEMA = pl.Schema(
    {
        "event": pl.String(),
        "source": pl.String(),
        "rows": pl.Int64(),
        "late": pl.Int64(),
        "median_late_by": pl.Duration("us"),
        "most_late_by": pl.Duration("us"),
        "last_late": pl.Datetime("us", "UTC"),
    }
)
"""One row per event type with a watermark, and source.

`rows` is all that came, `late` how many of them occurred before the watermark that they met; how far before says
`median_late_by` and `most_late_by`, and `last_late` when the newest of them was taken in: null where none was late.
"""


def lateness(lake: Lake, domain: Domain, *, since: datetime | None = None) -> pl.DataFrame:
    """What came late, as `SCHEMA`; by event, the source with the most late rows first.

    Args:
        lake: Where the tables are.
        domain: Whose events.
        since: Only rows ingested from then on; None for all.
    """
    names = sorted({event.name for event in domain.events})
    found = [_of_event(lake, domain.versions_of(name), since) for name in names]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *found])


def _of_event(lake: Lake, versions: Sequence[EventContract], since: datetime | None) -> pl.DataFrame:
    spec = silver.spec(versions)
    table = lake.newest(spec)
    none = pl.DataFrame(schema=SCHEMA)
    if watermark.declared(versions) is None or table is None:
        return none
    snapshot = Snapshot.of(table)
    if WATERMARK.name not in snapshot.schema:  # declared, but nothing has come since
        return none
    rows = snapshot.scan()
    if since is not None:
        end = datetime.max.replace(tzinfo=since.tzinfo)
        near = snapshot.touching("_ingested_at", [(since, end)])
        rows = near.scan().filter(pl.col("_ingested_at") >= since)
    by = pl.col(WATERMARK.name) - pl.col("occurred_at")
    late = pl.col("by") > pl.duration(microseconds=0)
    source = pl.col("source") if "source" in snapshot.schema else pl.lit(None, pl.String)
    counted = (
        rows.select(source.alias("source"), "_ingested_at", by=by)
        .group_by("source")
        .agg(
            pl.len().cast(pl.Int64).alias("rows"),
            late.sum().cast(pl.Int64).alias("late"),
            pl.col("by").filter(late).median().alias("median_late_by"),
            pl.col("by").filter(late).max().alias("most_late_by"),
            pl.col("_ingested_at").filter(late).max().alias("last_late"),
        )
        .sort("late", "source", descending=[True, False], nulls_last=True)
        .collect()
    )
    return counted.select(pl.lit(versions[0].name).alias("event"), pl.exclude("event")).cast(SCHEMA)
