"""From when on rows of a silver table may be missing an enrichment, as its own commits record it."""

from datetime import UTC, datetime, timedelta

import polars as pl

from analytics_platform.contract.model import ENRICHED_AT, Enrichment, EventContract
from analytics_platform.lake.files import Pinned

_MISSING = "missing:"
COMPLETE = 2**62
"""Stands for a time after all rows where a table records from when on rows may be missing an enrichment."""


def missing_id(item: Enrichment) -> str:
    """The application id under which a silver table records from when on its rows may be missing an enrichment.

    It holds the `_ingested_at` of the first such row, in milliseconds since 1970, or an earlier time, or `COMPLETE`.
    Nothing recorded means that any row may.
    """
    return f"{_MISSING}{item.name}"


def missing_marks(table: Pinned, rows: pl.DataFrame, contract: EventContract) -> dict[str, int]:
    """What a commit that adds some rows to a silver table records about those that are missing an enrichment."""
    marks = {}
    for item in contract.enrichments:
        have = table.progress(missing_id(item))
        if have is None:
            if table.snapshot().rows:
                continue  # rows of before the contract had it: any may be missing
            marks[missing_id(item)] = COMPLETE
        first = rows.filter(pl.col(item.enriched_at).is_null())["_ingested_at"].min() if rows.height else None
        if isinstance(first, datetime):
            marks[missing_id(item)] = min(COMPLETE if have is None else have, to_ms(first))
    for name in _without(table, contract):  # no row of today's has it; it may come back
        have, first = table.progress(name), rows["_ingested_at"].min() if rows.height else None
        if have is not None and isinstance(first, datetime):
            marks[name] = min(have, to_ms(first))
    return {name: mark for name, mark in marks.items() if mark != table.progress(name)}


def _without(table: Pinned, contract: EventContract) -> list[str]:
    """The application ids of enrichments that the table may have and the contract has not."""
    ours = {item.enriched_at for item in contract.enrichments}
    found = [field.name for field in table.table.schema().fields if field.name.endswith(ENRICHED_AT)]
    return [f"{_MISSING}{name.removesuffix(ENRICHED_AT)}" for name in found if name not in ours]


_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


def to_ms(at: datetime) -> int:
    """An instant in whole milliseconds since 1970."""
    return (at - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """The instant so many milliseconds after 1970."""
    return _EPOCH + ms * _MS
