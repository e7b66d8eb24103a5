"""Who still uses what is going to end: versions and fields whose last day is announced, counted by source.

Counted are rows of silver (what came in) and of the quarantine (what was refused as `version_sunset`), so the answer is
as exact as the tables are. Only the columns asked about are read.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import polars as pl

from analytics_platform import quarantine, silver
from analytics_platform.contract.model import Deprecation, Domain, EventContract, Field, LogicalType
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import CLAIM_LENGTH
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake, TableSpec

SCHEMA = pl.Schema(
    {
        "event": pl.String(),
        "what": pl.String(),
        "last_day": pl.Date(),
        "replaced_by": pl.String(),
        "source": pl.String(),
        "rows": pl.Int64(),
        "refused": pl.Int64(),
        "first_seen": pl.Datetime("us", "UTC"),
        "last_seen": pl.Datetime("us", "UTC"),
    }
)
"""One row per source that uses something whose end is announced.

`what` is `version 1.0.0` or `field lines[].sku`. `source` is as the records say, cut to `CLAIM_LENGTH`, null where they
say none. `rows` counts rows of silver, `refused` records quarantined because the version had ended; `first_seen` and
`last_seen` are times of ingestion of either.
"""

_KEY = ("nth", "source")


def has_ends(versions: Sequence[EventContract]) -> bool:
    """Whether an event type has anything whose end is announced: a version, or a field of the newest one."""
    return any(_ends(versions))


def uses(lake: Lake, domain: Domain, *, since: datetime | None = None) -> pl.DataFrame:
    """Every use of what is going to end, as `SCHEMA`; by event, versions before fields, sources by name.

    Args:
        lake: Where the tables are.
        domain: Whose contracts say what ends.
        since: Only rows ingested from then on; None for all.
    """
    names = sorted({event.name for event in domain.events})
    found = [_of_event(lake, domain, name, since) for name in names]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *found])


def _of_event(lake: Lake, domain: Domain, name: str, since: datetime | None) -> pl.DataFrame:
    versions = domain.versions_of(name)
    ends = list(_ends(versions))
    if not ends:
        return pl.DataFrame(schema=SCHEMA)
    conditions = [there for _, _, there in ends]
    kept = _by_source(_scan(lake, silver.spec(versions), since, "_ingested_at"), conditions, "_ingested_at")
    refused = _refused(lake, domain, versions, since)
    both = pl.concat(
        [
            kept.with_columns(pl.lit(0, pl.Int64).alias("refused")),
            refused.with_columns(pl.lit(0, pl.Int64).alias("rows"), refused="rows"),
        ],
        how="diagonal",
    )
    counted = both.group_by(_KEY).agg(
        pl.col("rows", "refused").sum(), pl.col("first_seen").min(), pl.col("last_seen").max()
    )
    said = pl.DataFrame(
        {
            "nth": range(len(ends)),
            "event": [name] * len(ends),
            "what": [what for what, _, _ in ends],
            "last_day": [end.remove_after for _, end, _ in ends],
            "replaced_by": [end.replaced_by for _, end, _ in ends],
        },
        schema_overrides={"nth": pl.Int64, "replaced_by": pl.String},
    )
    found = said.join(counted, on="nth").sort(_KEY, nulls_last=True)
    return found.select(pl.col(column).cast(kind) for column, kind in SCHEMA.items())


def _refused(lake: Lake, domain: Domain, versions: Sequence[EventContract], since: datetime | None) -> pl.DataFrame:
    labels = [contract.label for contract in versions if contract.deprecation is not None]
    ended = pl.col("codes").list.contains(str(Reason.VERSION_SUNSET))
    rows = _scan(lake, quarantine.spec(domain.name), since, "ingested_at") if labels else None
    return _by_source(rows, [ended & (pl.col("contract") == label) for label in labels], "ingested_at")


def _ends(versions: Sequence[EventContract]) -> Iterator[tuple[str, Deprecation, pl.Expr]]:
    """What ends, until when, and the condition that a row of silver uses it: versions, then fields of the newest."""
    for contract in versions:
        if contract.deprecation is not None:
            yield f"version {contract.header.version}", contract.deprecation, pl.col("_contract") == contract.label
    for field in silver.newest(versions).fields:
        yield from _inside(field, field.name, pl.col(field.name), lambda there: there)


def _inside(
    field: Field, path: str, value: pl.Expr, wrap: Callable[[pl.Expr], pl.Expr]
) -> Iterator[tuple[str, Deprecation, pl.Expr]]:
    if field.deprecation is not None:
        yield f"field {path}", field.deprecation, wrap(value.is_not_null())
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


def _by_source(rows: pl.LazyFrame | None, conditions: Sequence[pl.Expr], column: str) -> pl.DataFrame:
    """Rows, and the oldest and newest instant, by `nth` (which of the conditions holds) and source."""
    names = ("source", "rows", "first_seen", "last_seen")
    kinds = pl.Schema({"nth": pl.Int64(), **{name: SCHEMA[name] for name in names}})
    if rows is None:
        return pl.DataFrame(schema=kinds)
    at, source = pl.col(column), pl.col("source").str.slice(0, CLAIM_LENGTH)
    # One query for each and not one for all: only then does the reader itself leave out rows that use nothing.
    counts = [
        rows.filter(there)
        .group_by(source)
        .agg(pl.lit(nth).alias("nth"), rows=pl.len(), first_seen=at.min(), last_seen=at.max())
        .select(pl.col(name).cast(kind) for name, kind in kinds.items())
        for nth, there in enumerate(conditions)
    ]
    return pl.concat([pl.DataFrame(schema=kinds), *pl.collect_all(counts, engine="streaming")])
