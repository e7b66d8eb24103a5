"""SQL expressions of contracts, computed over rows: each for each row alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from analytics_platform import duck
from analytics_platform.errors import ContractError

_ROWS = "_expression_rows"
_INDEX = "_expression_index"


@dataclass(frozen=True, slots=True)
class Computed:
    """Values of some expressions, row by row."""

    values: pl.DataFrame
    """A column for each expression; null also where it fails."""
    failed: pl.DataFrame
    """The same columns, true where the expression cannot be computed for the row: an overflow, a text that is no number."""


def computed(
    rows: pl.DataFrame, expressions: Mapping[str, str], what: str, connection: duck.DuckDBPyConnection
) -> Computed:
    """Compute expressions over rows, in their order.

    Not all that goes wrong with a row stays inside of DuckDB's TRY (2.0: `list_reduce` of an empty list does not); then
    the rows are halved until those to blame are alone.

    Args:
        rows: What they may name.
        expressions: In DuckDB's SQL, by the column to make.
        what: Whose they are, for the error.
        connection: See `duck.confined`.

    Raises:
        ContractError: One cannot be computed at all, whatever the row.
    """
    try:
        return _at_once(rows, expressions, connection)
    except duck.Error as error:
        if not duck.is_of_rows(error) or rows.is_empty():
            raise ContractError([f"{what} cannot be computed: {duck.words(error)}"]) from None
    if rows.height > 1:
        middle = rows.height // 2
        parts = [computed(part, expressions, what, connection) for part in (rows.head(middle), rows.tail(-middle))]
        return Computed(pl.concat(part.values for part in parts), pl.concat(part.failed for part in parts))
    if len(expressions) > 1:
        each = [computed(rows, {name: sql}, what, connection) for name, sql in expressions.items()]
        return Computed(
            pl.concat([one.values for one in each], how="horizontal"),
            pl.concat([one.failed for one in each], how="horizontal"),
        )
    (name,) = expressions
    kinds = computed(rows.clear(), expressions, what, connection).values
    return Computed(kinds.clear(n=1), pl.DataFrame({name: [True]}))


def _at_once(rows: pl.DataFrame, expressions: Mapping[str, str], connection: duck.DuckDBPyConnection) -> Computed:
    connection.register(_ROWS, rows.with_row_index(_INDEX).to_arrow(compat_level=pl.CompatLevel.newest()))
    # Inside of a struct null stays apart from failure, which makes the struct itself null. The line breaks keep a
    # comment at the end of an expression from swallowing what follows.
    columns = ", ".join(
        f"TRY({{'value': (\n{sql}\n)}}) AS {duck.identifier(name)}" for name, sql in expressions.items()
    )
    try:
        made = pl.from_arrow(connection.sql(f"SELECT {columns} FROM {_ROWS} ORDER BY {_INDEX}").to_arrow_table())
    finally:
        connection.unregister(_ROWS)
    assert isinstance(made, pl.DataFrame)  # noqa: S101 - a table
    names = list(expressions)
    return Computed(
        made.select(pl.col(name).struct.field("value").alias(name) for name in names),
        made.select(pl.col(name).is_null() for name in names),
    )
