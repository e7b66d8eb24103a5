import polars as pl
import pytest

from analytics_platform.parquet import duckdb_type


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (pl.Int64(), "BIGINT"),
        (pl.Datetime("us", "UTC"), "TIMESTAMPTZ"),
        (pl.Datetime("us"), "TIMESTAMP"),
        (pl.Decimal(20, 2), "DECIMAL(20, 2)"),
        (pl.List(pl.Struct({"a b": pl.List(pl.Int32)})), 'STRUCT("a b" INTEGER[])[]'),
    ],
)
def test_types(kind: pl.DataType, written: str):
    assert duckdb_type(kind) == written


def test_type_no_table_can_have():
    with pytest.raises(ValueError, match="no type of DuckDB for Time"):
        duckdb_type(pl.Time())
