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

    Args:
        rows: What they may name.
        expressions: In DuckDB's SQL, by the column to make.
        what: Whose they are, for the error.
        connection: See `duck.confined`.

    Raises:
        ContractError: One cannot be computed at all, whatever the row.
    """
    connection.register(_ROWS, rows.with_row_index(_INDEX).to_arrow(compat_level=pl.CompatLevel.newest()))
    # Inside of a struct null stays apart from failure, which makes the struct itself null. The line breaks keep a
    # comment at the end of an expression from swallowing what follows.
    columns = ", ".join(
        f"TRY({{'value': (\n{sql}\n)}}) AS {duck.identifier(name)}" for name, sql in expressions.items()
    )
    try:
        made = pl.from_arrow(connection.sql(f"SELECT {columns} FROM {_ROWS} ORDER BY {_INDEX}").to_arrow_table())
    except duck.Error as error:
        raise ContractError([f"{what} cannot be computed: {duck.words(error)}"]) from None
    finally:
        connection.unregister(_ROWS)
    assert isinstance(made, pl.DataFrame)  # noqa: S101 - a table
    names = list(expressions)
    return Computed(
        made.select(pl.col(name).struct.field("value").alias(name) for name in names),
        made.select(pl.col(name).is_null() for name in names),
    )
