"""A list of Parquet files as DuckDB SQL: exactly those files, in the columns of their table."""

from collections.abc import Mapping, Sequence

import polars as pl
from polars.datatypes import DataTypeClass

from analytics_platform.duck import identifier, literal

_SCALARS: dict[type[pl.DataType], str] = {
    pl.Int8: "TINYINT",
    pl.Int16: "SMALLINT",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
    pl.String: "VARCHAR",
    pl.Binary: "BLOB",
    pl.Boolean: "BOOLEAN",
    pl.Date: "DATE",
}


def rows_sql(paths: Sequence[str], schema: Mapping[str, pl.DataType]) -> str:
    """A SELECT of the rows of some files; a column that a file is too old to have is null there. No files, no rows."""
    types = {name: duckdb_type(kind) for name, kind in schema.items()}
    if not paths:
        columns = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in types.items())
        return f"SELECT {columns} WHERE false"
    # With the schema given, no file is opened to find it out, and a column that a file lacks is its default.
    columns = ", ".join(
        f"{literal(name)}: {{name: {literal(name)}, type: {literal(kind)}, default_value: NULL}}"
        for name, kind in types.items()
    )
    files = ", ".join(literal(path) for path in paths)
    return f"SELECT * FROM read_parquet([{files}], schema = MAP {{{columns}}})"


def duckdb_type(kind: pl.DataType) -> str:
    """A column's type as DuckDB writes it. Raises `ValueError` for one that no table of a lake can have."""
    if isinstance(kind, pl.Struct):
        return f"STRUCT({', '.join(f'{identifier(part.name)} {_part(part.dtype)}' for part in kind.fields)})"
    if isinstance(kind, pl.List):
        return f"{_part(kind.inner)}[]"
    if isinstance(kind, pl.Datetime):
        return "TIMESTAMP" if kind.time_zone is None else "TIMESTAMPTZ"
    if isinstance(kind, pl.Decimal):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    try:
        return _SCALARS[type(kind)]
    except KeyError:
        raise ValueError(f"no type of DuckDB for {kind}") from None


def _part(kind: pl.DataType | DataTypeClass) -> str:
    return duckdb_type(kind if isinstance(kind, pl.DataType) else kind())
