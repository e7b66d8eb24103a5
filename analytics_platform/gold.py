"""Gold: marts kept up to date by recomputing only the windows that new silver rows fall into.

A mart is plain SQL over `silver.*` and `reference.*`. To bring it up to date, the views it reads are restricted to whole
windows, its SQL runs over them as it is, and those windows of its table are replaced in one atomic step. What it has
applied stands in its `txn` actions: of each silver input the offset per partition, the count of rewrites, the version of
each reference table and the digest of its own SQL and contract. Whatever differs by more than new offsets makes it
start over, so a crash between silver and gold, a rebuild, or a changed file can never leave it behind.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from analytics_platform import duck, reference, silver, window
from analytics_platform.bronze import within
from analytics_platform.contract.check import misfits, violations
from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.contract.schema import gold_columns, schema_of
from analytics_platform.contract.treatment import personal_columns
from analytics_platform.duck import identifier, literal
from analytics_platform.errors import MartBroken
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.lake.commit import TOKEN, Change, Move, commit
from analytics_platform.lake.files import Pinned, Snapshot, merged, overlap_sql
from analytics_platform.lake.table import Lake, TableSpec
from analytics_platform.parquet import rows_sql
from analytics_platform.report import MartReport

Logs = Mapping[str, tuple[Log, Sequence[int]]]
"""The log and the partitions of each topic, as far as they are known."""


def spec(mart: MartContract) -> TableSpec:
    """The table of a mart."""
    return TableSpec(
        "gold",
        mart.name,
        schema_of(gold_columns(mart)),
        (mart.window.column,),
        mart.header.description,
        personal_columns(mart.fields),
    )


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a rebuild did to silver, told to the marts above it."""

    touched: Mapping[str, pl.Series]
    """Starts (UTC) of the windows to recompute, by mart."""
    before: Mapping[str, int]
    """How often each silver table had been rewritten before, by name: a mart that has seen just that needs no more than
    the touched windows."""


@dataclass(frozen=True, slots=True)
class Input:
    """One silver input at one version: its files and its progress, so that both are of the same moment."""

    name: str
    time_field: str
    snapshot: Snapshot
    ends: Mapping[str, int]
    """The next bronze offset to take in, by application id."""
    places: Mapping[str, tuple[Log, int]]
    """Which log and partition an application id stands for."""
    rewrites: int


def refresh(
    lake: Lake, domain: Domain, mart: MartContract, logs: Logs, *, rewritten: Rewritten | None = None
) -> MartReport | None:
    """Bring one mart up to date; `None` when it is.

    Args:
        lake: Where the tables are.
        domain: The mart's domain.
        mart: Its contract.
        logs: Inputs of topics that are left out count as unchanged.
        rewritten: What a rebuild did to silver just now.

    Durable on return: the recomputed windows and what they were computed from.
    If it dies halfway: the mart is as it was, and its next refresh does the work.

    Raises:
        MartBroken: its SQL fails or its result does not fit its contract; the table stays as it was.
    """
    began = time.perf_counter()
    windows = removed = added = 0

    def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
        nonlocal windows, removed, added
        del left  # a mart has no moves of its own: it records what it was computed from
        inputs = [_input(lake, domain, mart, name, logs) for name in mart.silver_inputs]
        tables = {name: lake.newest(reference.spec_of(domain, name)) for name in mart.reference_inputs}
        ends = {f"{item.name}:{app_id}": end for item in inputs for app_id, end in item.ends.items()}
        fixed = {f"rewrites:{item.name}": item.rewrites for item in inputs}
        fixed |= {
            f"reference:{name}": (found.transaction_version(TOKEN) or 0) if found else 0
            for name, found in tables.items()
        }
        fixed["contract"] = int(mart.header.digest[:15], 16)
        have = {name: table.progress(name) for name in (*ends, *fixed)}
        expected = fixed | {f"rewrites:{name}": seen for name, seen in (rewritten.before if rewritten else {}).items()}
        stale = any(have[name] not in {fixed[name], expected[name]} for name in fixed)
        moved = any(have[name] != end for name, end in ends.items())
        if not stale and not moved and rewritten is None:
            return None
        starts = None if stale else _touched(inputs, mart, have, rewritten)
        covered = None if starts is None else merged(window.ranges(starts, mart.window), most=window.MOST_RANGES)
        references = {name: Snapshot.of(found) if found else None for name, found in tables.items()}
        rows = _rows(domain, mart, inputs, references, covered)
        windows = rows[mart.window.column].n_unique() if starts is None else starts.len()
        progress = ends | fixed
        if covered is None:
            if rewritten is not None:
                removed, added = _differing(_standing(table, mart, None), rows)
            return Change(rows, replaces_all=True, progress=progress)
        behind = moved or any(have[name] != fixed[name] for name in fixed)
        if not covered:
            return Change(rows, progress=progress) if behind else None
        bounds = window.bounds(covered, mart.window, _kind(mart))
        if rewritten is not None:
            removed, added = _differing(_standing(table, mart, bounds), rows)
            if not behind and not removed and not added:
                return None
        return Change(rows, replaces=overlap_sql(mart.window.column, bounds), progress=progress)

    committed = commit(lake, spec(mart), change)
    if committed.change is None:
        return None
    return MartReport(
        mart.name, windows, committed.change.rows.height, time.perf_counter() - began, removed=removed, added=added
    )


def touched_by(rows: pl.DataFrame, name: str, mart: MartContract) -> pl.Series:
    """Starts (UTC) of the windows of a mart that some rows of one of its silver inputs fall into."""
    return window.starts(rows[mart.window.time_fields[name]], mart.window)


def _standing(table: Pinned, mart: MartContract, bounds: Sequence[tuple[object, object]] | None) -> pl.DataFrame:
    """What the mart holds of some windows, or all of it, as `_rows` would return it."""
    snapshot = table.snapshot()
    if bounds is None:
        near = snapshot.scan()
    else:
        column = pl.col(mart.window.column)
        inside = pl.any_horizontal((column >= start) & (column < end) for start, end in bounds)
        near = snapshot.touching(mart.window.column, bounds).scan().filter(inside)
    return near.select(list(spec(mart).schema)).collect().sort(mart.grain)


def _differing(standing: pl.DataFrame, rows: pl.DataFrame) -> tuple[int, int]:
    """How many rows of each the other does not have; a row whose numbers changed counts in both."""
    columns = rows.columns
    gone = standing.join(rows, on=columns, how="anti", nulls_equal=True).height
    return gone, rows.join(standing, on=columns, how="anti", nulls_equal=True).height


def _kind(mart: MartContract) -> pl.DataType:
    return pl.Schema(spec(mart).schema)[mart.window.column]


def _input(lake: Lake, domain: Domain, mart: MartContract, name: str, logs: Logs) -> Input:
    versions = domain.versions_of(name)
    table = lake.ensure(silver.spec(versions))
    log, partitions = logs.get(versions[0].topic, (Log("", ""), ()))
    places = {log.app_id(partition): (log, partition) for partition in partitions}
    found = {app_id: table.transaction_version(app_id) for app_id in places}
    return Input(
        name,
        mart.window.time_fields[name],
        Snapshot.of(table),
        {app_id: end for app_id, end in found.items() if end is not None},
        places,
        table.transaction_version(silver.REWRITES) or 0,
    )


def _touched(
    inputs: Sequence[Input], mart: MartContract, have: Mapping[str, int | None], rewritten: Rewritten | None
) -> pl.Series:
    """Starts of all windows that hold rows the mart has not seen, and of those a rebuild touched."""
    found = [pl.Series([], dtype=pl.Datetime("us", "UTC"))]
    if rewritten is not None and mart.name in rewritten.touched:
        found.append(rewritten.touched[mart.name])
    for item in inputs:
        news = {app_id: (have[f"{item.name}:{app_id}"] or 0, end) for app_id, end in item.ends.items()}
        ranges = [OffsetRange(item.places[app_id][1], *span) for app_id, span in news.items() if span[0] < span[1]]
        if not ranges:
            continue
        log = next(iter(item.places.values()))[0]
        near = item.snapshot.touching("_offset", [(part.start, part.end) for part in ranges])
        mine = within(ranges, "_partition", "_offset") & (pl.col("_topic_id") == log.id)
        times = near.scan().filter(mine).select(pl.col(item.time_field).unique()).collect().to_series()
        found.append(window.starts(times, mart.window))
    return pl.concat(found).unique().sort()


def _rows(
    domain: Domain,
    mart: MartContract,
    inputs: Sequence[Input],
    references: Mapping[str, Snapshot | None],
    covered: Sequence[tuple[datetime, datetime]] | None,
) -> pl.DataFrame:
    """The mart's rows in the covered windows, or all of them; checked against its contract."""
    table = spec(mart)
    if covered is not None and not covered:
        return pl.DataFrame(schema=table.schema)
    try:
        with duck.connect() as connection:
            connection.execute("CREATE SCHEMA silver; CREATE SCHEMA reference")
            for item in inputs:
                near = item.snapshot if covered is None else item.snapshot.touching(item.time_field, covered)
                sql = f"SELECT * FROM ({rows_sql(near.paths, near.schema)})"
                if covered is not None:
                    sql += f" WHERE {_instants_sql(item.time_field, covered)}"
                connection.execute(f"CREATE VIEW silver.{identifier(item.name)} AS {sql}")
            for name, snapshot in references.items():
                schema = reference.spec_of(domain, name).schema if snapshot is None else snapshot.schema
                sql = rows_sql(snapshot.paths if snapshot else (), pl.Schema(schema))
                connection.execute(f"CREATE VIEW reference.{identifier(name)} AS {sql}")
            result = connection.sql(mart.sql).to_arrow_table()
    except duck.Error as error:
        raise MartBroken(mart.name, f"its SQL fails: {duck.words(error)}") from None
    rows = pl.DataFrame(result)
    _fits(mart, rows, table, covered)
    return rows.select(pl.col(name).cast(kind) for name, kind in table.schema.items()).sort(mart.grain)


def _instants_sql(column: str, covered: Sequence[tuple[datetime, datetime]]) -> str:
    name = identifier(column)
    spans = (f"({name} >= {_instant(start)} AND {name} < {_instant(end)})" for start, end in covered)
    return "(" + " OR ".join(spans) + ")"


def _instant(at: datetime) -> str:
    return f"TIMESTAMPTZ {literal(at.isoformat(sep=' '))}"


def _fits(
    mart: MartContract, rows: pl.DataFrame, table: TableSpec, covered: Sequence[tuple[datetime, datetime]] | None
) -> None:
    """Refuse a result that does not fit the contract: columns, types, rules, grain, and windows it was not asked for."""
    if set(rows.columns) != set(table.schema):
        raise MartBroken(mart.name, f"its SQL returns {sorted(rows.columns)}, its contract has {sorted(table.schema)}")
    unfit = misfits(rows, table.schema)
    if unfit:
        raise MartBroken(mart.name, f"not of its contract's type: {', '.join(unfit)}")
    typed = rows.select(pl.col(name).cast(kind) for name, kind in table.schema.items())
    if typed.select(mart.grain).is_duplicated().any():
        raise MartBroken(mart.name, f"its SQL returns two rows for one {', '.join(mart.grain)}")
    complaints = violations(typed, mart.fields)
    if complaints:
        raise MartBroken(mart.name, "its result does not fit its contract: " + "; ".join(complaints))
    if covered is not None:
        column = pl.col(mart.window.column)
        spans = window.bounds(covered, mart.window, _kind(mart))
        asked = pl.any_horizontal((column >= start) & (column < end) for start, end in spans)
        if not typed.select(asked.fill_null(value=False).all()).item():
            raise MartBroken(
                mart.name,
                f"its SQL returns a {mart.window.column} outside the windows its rows come from; see docs/marts.md",
            )
