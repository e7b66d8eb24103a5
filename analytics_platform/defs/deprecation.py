"""The check `no_deprecated_use`: who still sends a version or a field of an event type whose end is announced."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from analytics_platform.alert import MOST
from analytics_platform.contract.model import Domain
from analytics_platform.defs.specs import asset_key, events_by_type
from analytics_platform.lake.table import Lake
from analytics_platform.stopwatch import spell
from analytics_platform.usage import has_ends, uses

CHECK = "no_deprecated_use"

RECENT = timedelta(hours=1)
"""How far back it looks.

Each burst reads the hour again, so with one a minute a row is read sixty times. Measured in a table of 10,000 files: 0.3 s
of CPU a burst at 1,000 records a second of which some use something, 0.1 s where none does. A day holds 24 times as many.
Who sends once a night is in the check's history and in `contracts usage`.
"""

_COLUMNS = {
    "what": "VARCHAR",
    "source": "VARCHAR",
    "rows": "BIGINT",
    "refused": "BIGINT",
    "first_seen": "VARCHAR",
    "last_seen": "VARCHAR",
    "last_day": "VARCHAR",
    "days_left": "BIGINT",
    "use_instead": "VARCHAR",
}


def deprecation_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    """The check of each event type that has something whose end is announced."""
    return [
        dg.AssetCheckSpec(
            CHECK,
            asset=asset_key("silver", name),
            description=(
                f"Nobody sent a version or a field whose end is announced within {spell(RECENT.total_seconds())} before "
                "the last burst ended. While somebody does it warns, and says who; all time: `contracts usage`."
            ),
        )
        for name in _ending(domain)
    ]


def deprecation_checks(lake: Lake, domain: Domain, now: datetime) -> Iterator[dg.AssetCheckResult]:
    """The answers at a moment, for each event type that has something whose end is announced.

    Only files that can hold rows of the time looked at are read, so it costs the same however large the table is.
    """
    ending = _ending(domain)
    if ending:
        found = uses(lake, domain, since=now - RECENT)
        for name in ending:
            yield deprecated_use(name, found.filter(pl.col("event") == name), now)


def deprecated_use(name: str, used: pl.DataFrame, now: datetime) -> dg.AssetCheckResult:
    """The answer about one event type.

    Args:
        name: Of the event type.
        used: Its uses (`usage.SCHEMA`). A source may be made up for every record, so that at most `MOST` are shown,
            those with the most records; of the rest only the number is told.
        now: From which the days are counted; the last day itself has 0 left.
    """
    records = pl.col("rows") + pl.col("refused")
    totals = used.group_by("what", "last_day", maintain_order=True).agg(records=records.sum(), sources=pl.len())
    told = [_sentence(row, now) for row in totals.iter_rows(named=True)]
    shown = used.sort(records, descending=True, maintain_order=True).head(MOST)
    more = used.height - shown.height
    if more:
        told.append(f"and {more:,} more than the {MOST} in the table")
    kinds = [dg.TableColumn(column, kind) for column, kind in _COLUMNS.items()]
    rows = [_record(row, now) for row in shown.iter_rows(named=True)]
    return dg.AssetCheckResult(
        passed=used.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        asset_key=asset_key("silver", name),
        check_name=CHECK,
        description="; ".join(told) or "nobody uses anything whose end is announced",
        metadata={
            "sources": used["source"].n_unique(),
            "records": int(used.select(records.sum()).item()),
            "more": more,
            "uses": dg.MetadataValue.table(rows, schema=dg.TableSchema(columns=kinds)),
        },
    )


def _ending(domain: Domain) -> list[str]:
    return [name for name, versions in events_by_type(domain).items() if has_ends(versions)]


def _sentence(total: dict[str, Any], now: datetime) -> str:
    when = "ends after" if total["last_day"] >= now.date() else "ended after"
    plural = "s" if total["sources"] > 1 else ""
    many = "s" if total["records"] > 1 else ""
    return (
        f"{total['what']} {when} {total['last_day']}: {total['records']:,} record{many} of "
        f"{total['sources']:,} source{plural}"
    )


def _record(use: dict[str, Any], now: datetime) -> dg.TableRecord:
    said = {
        **use,
        "source": "(none said)" if use["source"] is None else use["source"],
        "first_seen": f"{use['first_seen']:%Y-%m-%d %H:%M:%S}Z",
        "last_seen": f"{use['last_seen']:%Y-%m-%d %H:%M:%S}Z",
        "last_day": str(use["last_day"]),
        "days_left": (use["last_day"] - now.date()).days,
        "use_instead": use["replaced_by"] or "",
    }
    return dg.TableRecord({column: said[column] for column in _COLUMNS})
