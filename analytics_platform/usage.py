"""Who still uses what is going to end: versions and fields whose last day is announced, counted by source.

Counted are rows of silver (what came in) and of the quarantine (what was refused as `version_sunset`), so the answer is
as exact as the tables are. Only the columns asked about are read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from analytics_platform import quarantine, silver
from analytics_platform.contract.model import Domain, EventContract, Field, LogicalType
from analytics_platform.contract.reason import Reason
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake, TableSpec


@dataclass(frozen=True, slots=True)
class Use:
    """One source that uses something whose end is announced."""

    event: str
    what: str
    """`version 1.0.0`, or `field lines[].sku`."""
    last_day: date
    replaced_by: str | None
    source: str | None
    """As the records say; None for those that say none."""
    rows: int
    """Rows of silver that use it."""
    last_seen: datetime | None
    """When the newest of them was ingested; None when all were refused."""
    refused: int
    """Records quarantined because the version had ended."""


def has_ends(versions: Sequence[EventContract]) -> bool:
    """Whether an event type has anything whose end is announced: a version, or a field of the newest one."""
    newest = silver.newest(versions)
    return any(contract.deprecation is not None for contract in versions) or any(_ending(newest.fields))


def uses(lake: Lake, domain: Domain, *, since: datetime | None = None) -> tuple[Use, ...]:
    """Every use of what is going to end, by event, what, and source.

    Args:
        lake: Where the tables are.
        domain: Whose contracts say what ends.
        since: Only rows ingested from then on; None for all.
    """
    found: list[Use] = []
    for name in sorted({event.name for event in domain.events}):
        versions = domain.versions_of(name)
        found += _versions(lake, domain, versions, since)
        found += _fields(lake, versions, since)
    return tuple(found)


def _versions(lake: Lake, domain: Domain, versions: Sequence[EventContract], since: datetime | None) -> Iterator[Use]:
    ending = [contract for contract in versions if contract.deprecation is not None]
    rows = _scan(lake, silver.spec(versions), since, "_ingested_at") if ending else None
    bad = _scan(lake, quarantine.spec(domain.name), since, "ingested_at") if ending else None
    for contract in ending:
        assert contract.deprecation is not None  # noqa: S101 - filtered just above
        kept = _by_source(rows, pl.col("_contract") == contract.label, "_ingested_at")
        ended = pl.col("codes").list.contains(str(Reason.VERSION_SUNSET)) & (pl.col("contract") == contract.label)
        refused = _by_source(bad, ended, "ingested_at")
        for source in sorted({*kept, *refused}, key=lambda one: (one is None, one)):
            count, last = kept.get(source, (0, None))
            yield Use(
                contract.name,
                f"version {contract.header.version}",
                contract.deprecation.remove_after,
                contract.deprecation.replaced_by,
                source,
                count,
                last,
                refused.get(source, (0, None))[0],
            )


def _fields(lake: Lake, versions: Sequence[EventContract], since: datetime | None) -> Iterator[Use]:
    contract = silver.newest(versions)
    ending = list(_ending(contract.fields))
    rows = _scan(lake, silver.spec(versions), since, "_ingested_at") if ending else None
    for field, path, is_there in ending:
        assert field.deprecation is not None  # noqa: S101 - `_ending` yields no other
        for source, (count, last) in _by_source(rows, is_there, "_ingested_at").items():
            end = field.deprecation
            yield Use(contract.name, f"field {path}", end.remove_after, end.replaced_by, source, count, last, 0)


def _ending(fields: Sequence[Field]) -> Iterator[tuple[Field, str, pl.Expr]]:
    """Fields whose end is announced, with their path and the condition that a row has a value there."""
    for field in fields:
        yield from _inside(field, field.name, pl.col(field.name), lambda there: there)


def _inside(
    field: Field, path: str, value: pl.Expr, wrap: Callable[[pl.Expr], pl.Expr]
) -> Iterator[tuple[Field, str, pl.Expr]]:
    if field.deprecation is not None:
        yield field, path, wrap(value.is_not_null())
    if field.type is LogicalType.OBJECT:
        for inner in field.fields:
            yield from _inside(inner, f"{path}.{inner.name}", value.struct.field(inner.name), wrap)
    elif field.item is not None:

        def any_item(there: pl.Expr) -> pl.Expr:
            return wrap(value.list.eval(there).list.any())

        yield from _inside(field.item, f"{path}[]", pl.element(), any_item)


def _scan(lake: Lake, spec: TableSpec, since: datetime | None, column: str) -> pl.LazyFrame | None:
    table = lake.newest(spec)
    if table is None:
        return None
    snapshot = Snapshot.of(table)
    if since is None:
        return snapshot.scan()
    recent = snapshot.touching(column, [(since, datetime.max.replace(tzinfo=since.tzinfo))])
    return recent.scan().filter(pl.col(column) >= since)


def _by_source(
    rows: pl.LazyFrame | None, condition: pl.Expr, column: str
) -> Mapping[str | None, tuple[int, datetime | None]]:
    """Rows and the newest instant, by source, sorted."""
    if rows is None:
        return {}
    counted = (
        rows.filter(condition).group_by("source").agg(pl.len(), pl.col(column).max()).sort("source", nulls_last=True)
    )
    return {source: (count, last) for source, count, last in counted.collect().iter_rows()}
