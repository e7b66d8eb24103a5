"""The table of a mart."""

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from analytics_platform.contract.model import MartContract
from analytics_platform.contract.schema import gold_columns, schema_of
from analytics_platform.contract.treatment import personal_columns
from analytics_platform.lake.table import TableSpec


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


def kind(mart: MartContract) -> pl.DataType:
    """The type of its window's column: a timestamp, or a date."""
    return pl.Schema(spec(mart).schema)[mart.window.column]


def inside(name: str, spans: Sequence[tuple[datetime | date, datetime | date]]) -> pl.Expr:
    """Whether a column lies within one of some half-open ranges."""
    return pl.any_horizontal((pl.col(name) >= start) & (pl.col(name) < end) for start, end in spans)
