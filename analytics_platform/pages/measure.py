"""How fresh and how clean tables are, as the tables themselves say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from analytics_platform.contract.model import Domain
from analytics_platform.lake.listing import LiveTable, live_tables, newest
from analytics_platform.lake.table import Lake
from analytics_platform.quarantine import NEW
from analytics_platform.stopwatch import spell


@dataclass(frozen=True, slots=True)
class TableMeasure:
    """One table at its newest version."""

    rows: int
    newest_at: datetime | None
    """Silver: the newest event's own time. Others: when the newest file was written. `None` for a table without rows."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All tables of a lake at one time; empty where there is no lake."""

    at: datetime
    tables: Mapping[str, TableMeasure]
    """By `layer.name`."""
    waiting: Mapping[tuple[str, str | None], int]
    """Rows of the quarantine with the status `new`, by domain and claimed event type; `None` for all types that no
    contract of the domain names."""
    reasons: Mapping[tuple[str, str | None], Mapping[str, int]]
    """The same rows by reason code; a row with two codes counts for both."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A measure in a few words."""

    tone: str
    """`good`, `bad`, or `plain` where nothing was promised or measured."""
    text: str


NOT_MEASURED = Badge("plain", "not measured")


def measure(domains: Sequence[Domain], lake: Lake, at: datetime) -> Measured:
    """Look at every table of a lake."""
    tables: dict[str, TableMeasure] = {}
    waiting: dict[tuple[str, str | None], int] = {}
    reasons: dict[tuple[str, str | None], Mapping[str, int]] = {}
    names = {domain.name: sorted({event.name for event in domain.events}) for domain in domains}
    for table in live_tables(lake):
        time = newest(table, ["occurred_at"]).get("occurred_at") if table.layer == "silver" else table.written_at
        tables[table.title] = TableMeasure(table.rows, time)
        if table.layer == "quarantine" and table.name in names:
            for event_type, codes in _waiting(table, names[table.name]).items():
                waiting[table.name, event_type] = codes.pop("", 0)
                reasons[table.name, event_type] = codes
    return Measured(at, tables, waiting, reasons)


def _waiting(table: LiveTable, names: Sequence[str]) -> dict[str | None, dict[str, int]]:
    """By claimed event type: rows under the empty code, and rows by code."""
    known = pl.when(pl.col("event_type").is_in(names)).then("event_type")
    rows = table.snapshot.scan().filter(pl.col("status") == NEW).select("codes", event_type=known)
    counted = pl.concat([rows.with_columns(codes=pl.lit("")), rows.explode("codes")])
    found: dict[str | None, dict[str, int]] = {}
    for event_type, code, count in counted.group_by("event_type", "codes").len().sort(pl.all()).collect().iter_rows():
        found.setdefault(event_type, {})[code] = count
    return found


def freshness(measured: Measured, title: str, promised: timedelta | None) -> Badge:
    """How old the newest row of a table is, held against what was promised."""
    table = measured.tables.get(title)
    if table is None:
        return NOT_MEASURED
    if table.newest_at is None:
        return Badge("plain", "empty")
    age = max(measured.at - table.newest_at, timedelta(0))
    said = f"{'newest event' if title.startswith('silver.') else 'written'} {spell(age.total_seconds())} ago"
    if promised is None:
        return Badge("plain", said)
    return Badge("good", said) if age <= promised else Badge("bad", f"stale: {said}")


def quality(measured: Measured, domain: str, event: str, allowed: float | None) -> Badge:
    """Which share of an event type's records waits in quarantine, held against what is allowed."""
    table = measured.tables.get(f"silver.{event}")
    waiting = measured.waiting.get((domain, event), 0)
    if table is None and not waiting:
        return NOT_MEASURED
    total = waiting + (0 if table is None else table.rows)
    if not total:
        return Badge("plain", "no records")
    share = waiting / total
    said = f"{share:.2%} of {total:,} in quarantine" if waiting else "nothing in quarantine"
    if allowed is None:
        return Badge("plain", said)
    return Badge("good" if share <= allowed else "bad", said)
