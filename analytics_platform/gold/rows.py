"""A mart's SQL, run over whole windows of what it reads, and held against its contract."""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from analytics_platform import duck, reference, silver, window
from analytics_platform.contract.check import misfits, violations
from analytics_platform.contract.hop import function_sql
from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.contract.schema import polars_schema
from analytics_platform.duck import identifier, literal
from analytics_platform.errors import MartBroken
from analytics_platform.gold import session
from analytics_platform.gold.source import Sources
from analytics_platform.gold.table import inside, kind
from analytics_platform.lake.files import Snapshot, merged
from analytics_platform.lake.table import Schema
from analytics_platform.parquet import rows_sql


def rows_of(
    domain: Domain,
    mart: MartContract,
    sources: Sources,
    covered: Sequence[window.Span] | None,
    *,
    without: pl.DataFrame | None = None,
    sessions: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The mart's rows in the covered windows, or all of them, in its contract's columns; checked against that.

    Args:
        domain: Of the mart.
        mart: Whose rows.
        sources: What it reads.
        covered: Ranges of the starts of windows.
        without: Rows of silver that do not count, by `input` and their coordinates; None leaves out none.
        sessions: Where windows are sessions, those whose rows count, each in the covered ranges; see `session.py`.

    Raises:
        MartBroken: its SQL fails, or its result does not fit its contract.
    """
    schema = polars_schema(mart.fields)
    if covered is not None and not covered:
        return pl.DataFrame(schema=schema)
    reads = None if covered is None else merged(window.reads(covered, mart.window))
    try:
        with duck.connect() as connection:
            connection.execute("CREATE SCHEMA silver; CREATE SCHEMA reference; CREATE SCHEMA gold")
            connection.execute(function_sql(mart.window))
            for item in sources.silver:
                seen = None if reads is None else merged(window.back(reads, item.lookback))
                sql = _within_sql(item.snapshot, item.time_field, seen)
                if without is not None:
                    name = f"kept_out_{item.name}"
                    out = without.filter(pl.col("input") == item.name).select(silver.PLACE)
                    connection.register(name, out.to_arrow())
                    sql = f"FROM ({sql}) ANTI JOIN {identifier(name)} USING ({', '.join(silver.PLACE)})"
                if sessions is not None:
                    sql = session.rows_sql(connection, sql, item.time_field, mart.window, sessions)
                connection.execute(f"CREATE VIEW silver.{identifier(item.name)} AS {sql}")
            for name, found in sources.references.items():
                snapshot = found.snapshot
                columns = reference.spec_of(domain, name).schema if snapshot is None else snapshot.schema
                sql = rows_sql(snapshot.paths if snapshot else (), pl.Schema(columns))
                connection.execute(f"CREATE VIEW reference.{identifier(name)} AS {sql}")
            for below in sources.marts:
                other = below.mart
                spans = None if reads is None else window.bounds(reads, other.window.timezone, kind(other))
                if below.snapshot is None:
                    sql = rows_sql((), pl.Schema(polars_schema(other.fields)))
                else:
                    sql = _within_sql(below.snapshot, other.window.column, spans)
                # How final its rows are is no input: it moves on its own.
                own = ", ".join(identifier(field.name) for field in other.fields)
                sql = f"SELECT {own} FROM ({sql})"
                connection.execute(f"CREATE VIEW gold.{identifier(other.name)} AS {sql}")
            result = connection.sql(mart.sql).to_arrow_table()
    except duck.Error as error:
        raise MartBroken(mart.name, f"its SQL fails: {duck.words(error)}") from None
    rows = _fitting(mart, pl.DataFrame(result), schema, covered)
    if sessions is not None:
        session.check(mart, rows, sessions)
    return rows.sort(mart.grain)


def _within_sql(
    snapshot: Snapshot, column: str, spans: Sequence[tuple[datetime | date, datetime | date]] | None
) -> str:
    """The rows of a table, or those whose value of a column lies within some ranges."""
    if spans is None:
        return f"SELECT * FROM ({rows_sql(snapshot.paths, snapshot.schema)})"
    near, name = snapshot.touching(column, spans), identifier(column)
    parts = (f"({name} >= {_literal(start)} AND {name} < {_literal(end)})" for start, end in spans)
    return f"SELECT * FROM ({rows_sql(near.paths, near.schema)}) WHERE ({' OR '.join(parts)})"


def _literal(at: datetime | date) -> str:
    if isinstance(at, datetime):
        return f"TIMESTAMPTZ {literal(at.isoformat(sep=' '))}"
    return f"DATE {literal(at.isoformat())}"


def _fitting(
    mart: MartContract, rows: pl.DataFrame, schema: Schema, covered: Sequence[window.Span] | None
) -> pl.DataFrame:
    """The rows of the covered windows, in the table's types.

    Raises:
        MartBroken: the result does not fit the contract: columns, types, rules, grain, or windows it was not asked for.
    """
    if set(rows.columns) != set(schema):
        raise MartBroken(mart.name, f"its SQL returns {sorted(rows.columns)}, its contract has {sorted(schema)}")
    unfit = misfits(rows, schema)
    if unfit:
        raise MartBroken(mart.name, f"not of its contract's type: {', '.join(unfit)}")
    typed = rows.select(pl.col(name).cast(kind) for name, kind in schema.items())
    name, holds = mart.window.column, kind(mart)
    if mart.window.overlap > 1 and holds != pl.Date():
        seconds = int(mart.window.step.total_seconds())
        if not typed.select((pl.col(name).dt.truncate(f"{seconds}s") == pl.col(name)).all()).item():
            raise MartBroken(mart.name, f"its SQL returns a {name} at which no window starts; see docs/marts.md")
    if covered is not None:
        outer = window.bounds(window.partial(covered, mart.window), mart.window.timezone, holds)
        if not typed.select(inside(name, outer).fill_null(value=False).all()).item():
            raise MartBroken(
                mart.name, f"its SQL returns a {name} outside the windows its rows come from; see docs/marts.md"
            )
        # Windows that overlap those asked for have only some of their rows here.
        typed = typed.filter(inside(name, window.bounds(covered, mart.window.timezone, holds)))
    if typed.select(mart.grain).is_duplicated().any():
        raise MartBroken(mart.name, f"its SQL returns two rows for one {', '.join(mart.grain)}")
    complaints = violations(typed, mart.fields)
    if complaints:
        raise MartBroken(mart.name, "its result does not fit its contract: " + "; ".join(complaints))
    return typed
