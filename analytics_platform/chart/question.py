"""What is drawn: rows of one table, put together by DuckDB so that never more than a few thousand reach memory."""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from analytics_platform.chart.label import plain
from analytics_platform.contract.panel import Aggregate, Kind
from analytics_platform.duck import DuckDBPyConnection, identifier
from analytics_platform.errors import QueryFailed
from analytics_platform.query import ask

MOST_POINTS = 1_000
"""Marks in one picture; more can neither be told apart nor fit into a page."""
MOST_SERIES = 12
"""Colours that can be told apart."""
MOST_TEXTS = 40
"""Bars beside each other that can still be read."""

_SQL = {
    Aggregate.SUM: "sum(y)",
    Aggregate.MEAN: "avg(y)",
    Aggregate.MEDIAN: "approx_quantile(y, 0.5)",
    Aggregate.MIN: "min(y)",
    Aggregate.MAX: "max(y)",
    Aggregate.COUNT: "count(*)",
}


class Axis(StrEnum):
    """What lies along x."""

    TIME = "time"
    NUMBER = "number"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Question:
    """Which rows to draw, and by what."""

    table: str
    """`layer.name`."""
    x: str
    y: str
    by: str | None = None
    where: str | None = None
    """A condition in SQL over the table's columns."""
    aggregate: Aggregate | None = None
    last: int | None = None
    """Only the newest (largest) so many values of `x`."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Rows that fit into a picture."""

    rows: pl.DataFrame
    """Columns x (UTC microseconds, Float64 or text), by (text) and y (finite Float64), by x and by."""
    axis: Axis
    x: str
    y: str
    by: str | None
    notes: tuple[str, ...] = ()
    """What was left out, in words."""

    @property
    def series(self) -> list[str]:
        """The values of `by`, in order; one empty text where there is no `by`."""
        return sorted(set(self.rows["by"].to_list()))


def default_kind(axis: Axis) -> Kind:
    """How to draw what nobody said how to draw."""
    return Kind.BAR if axis is Axis.TEXT else Kind.LINE


def plot(connection: DuckDBPyConnection, question: Question, kind: Kind | None = None, most: int | None = None) -> Plot:
    """Ask for the rows of a picture; rows whose y is null or not finite have no place in it.

    Args:
        connection: A locked one: `where` is somebody's SQL.
        question: What to draw.
        kind: Points may share an x; all else needs one row for each x and `by`.
        most: So many values of x at most; None is what an axis can hold.

    Raises:
        QueryFailed: a table or column is unknown, y is no number, or several rows share an x and nobody said how they
            are put together.
    """
    axis = _axis(connection, question)
    limit = most or (MOST_TEXTS if axis is Axis.TEXT else MOST_POINTS)
    rows = pl.DataFrame(
        ask(connection, _sql(question, axis, kind, min(question.last or limit, limit))).reader.read_all()
    )
    if rows.is_empty():
        return _plot(question, axis, rows.select("x", "by", "y"), ())
    if question.aggregate is None and kind is not Kind.POINT and (same := max(rows["n"])) > 1:
        also = f" and {plain(question.by)}" if question.by else ""
        raise QueryFailed(
            f"{question.table} has up to {same} rows for one {plain(question.x)}{also}: tell them apart with --by COLUMN, "
            f"or say with --aggregate how they are put together ({', '.join(Aggregate)})."
        )
    return _plot(question, axis, rows.select("x", "by", "y"), tuple(_notes(question, axis, rows, limit)))


def _axis(connection: DuckDBPyConnection, question: Question) -> Axis:
    columns = (
        f"{identifier(question.x)}, {'1' if question.aggregate is Aggregate.COUNT else identifier(question.y)} AS y"
    )
    schema = pl.DataFrame(ask(connection, f"SELECT {columns} FROM {_table(question)} LIMIT 0").reader.read_all()).schema
    kind, value = schema.dtypes()
    if not value.is_numeric():
        raise QueryFailed(
            f"{question.table}.{plain(question.y)} holds no numbers, and what is drawn upwards has to be one; "
            f"--aggregate {Aggregate.COUNT} counts rows."
        )
    if kind.is_temporal() and kind not in (pl.Time, pl.Duration):
        return Axis.TIME
    return Axis.NUMBER if kind.is_numeric() else Axis.TEXT


def _sql(question: Question, axis: Axis, kind: Kind | None, most: int) -> str:
    part = "''" if question.by is None else f"CAST({identifier(question.by)} AS VARCHAR)"
    y = "1" if question.aggregate is Aggregate.COUNT else identifier(question.y)
    cast = {Axis.TIME: "TIMESTAMPTZ", Axis.NUMBER: "DOUBLE", Axis.TEXT: "VARCHAR"}[axis]
    # The condition stands on lines of its own, so that a comment at its end ends with it.
    where = "true" if question.where is None else f"\n{question.where}\n"
    taken = f"""
WITH read AS (
    SELECT CAST({identifier(question.x)} AS {cast}) AS x, coalesce({part}, 'null') AS part, CAST({y} AS DOUBLE) AS y
    FROM {_table(question)} WHERE ({where})
),
taken AS (SELECT x, part, y FROM read WHERE x IS NOT NULL AND isfinite(y))
"""
    if question.aggregate is None and kind is Kind.POINT:
        # One x for each row: a top-N keeps just these in memory.
        return (
            f'{taken} SELECT x, part AS "by", y, 1 AS n, 1 AS series, 0 AS xs FROM taken ORDER BY x DESC LIMIT {most}'
        )
    value = "any_value(y)" if question.aggregate is None else _SQL[question.aggregate]
    order = "sum(abs(y)) DESC, x" if axis is Axis.TEXT and question.last is None else "x DESC"
    return f"""{taken},
grouped AS MATERIALIZED (SELECT x, part, {value} AS y, count(*) AS n FROM taken GROUP BY x, part),
kept AS MATERIALIZED (SELECT part FROM grouped GROUP BY part ORDER BY sum(abs(y)) DESC, part LIMIT {MOST_SERIES}),
newest AS (
    SELECT x FROM grouped GROUP BY x ORDER BY {order}
    LIMIT (SELECT greatest(1, least({most}, {MOST_POINTS} // greatest(1, count(*)))) FROM kept)
)
SELECT x, part AS "by", CAST(y AS DOUBLE) AS y, n,
    (SELECT count(DISTINCT part) FROM grouped) AS series, (SELECT count(DISTINCT x) FROM grouped) AS xs
FROM grouped WHERE part IN (FROM kept) AND x IN (FROM newest) ORDER BY x, part
"""


def _notes(question: Question, axis: Axis, rows: pl.DataFrame, limit: int) -> list[str]:
    notes = []
    series, xs = int(rows["series"][0]), int(rows["xs"][0])
    if series > MOST_SERIES:
        notes.append(f"the {MOST_SERIES} largest of {series:,} values of {plain(str(question.by))} are drawn")
    shown = rows["x"].n_unique()
    if xs > shown and question.last is None:
        which = "largest" if axis is Axis.TEXT else "newest"
        notes.append(f"the {which} {shown:,} of {xs:,} values of {plain(question.x)} are drawn")
    if not xs and rows.height == limit:
        notes.append(f"the newest {limit:,} rows are drawn")
    return notes


def _plot(question: Question, axis: Axis, rows: pl.DataFrame, notes: tuple[str, ...]) -> Plot:
    if axis is Axis.TIME:
        rows = rows.with_columns(pl.col("x").dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC")))
    texts = ["by", "x"] if axis is Axis.TEXT else ["by"]
    rows = rows.with_columns(pl.col(name).map_elements(plain, return_dtype=pl.String) for name in texts)
    said = f"{question.aggregate} of {question.y}" if question.aggregate else question.y
    y = "rows" if question.aggregate is Aggregate.COUNT else said
    by = None if question.by is None else plain(question.by)
    return Plot(rows.sort("x", "by", maintain_order=True), axis, plain(question.x), plain(y), by, notes)


def _table(question: Question) -> str:
    return ".".join(identifier(part) for part in question.table.split(".", 1))
