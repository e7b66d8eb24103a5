"""What a source of enrichments says of rows, whatever it is."""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from analytics_platform.contract.model import Enrichment
from analytics_platform.contract.schema import polars_type


class State(StrEnum):
    """What came of asking for a row."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    NO_KEY = "no_key"
    """There was nothing to ask: its key is null."""
    MISSING = "missing"
    """Nobody could be asked."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a source knows of some rows, in their order."""

    columns: pl.DataFrame
    """The columns that the enrichment takes; null but where a row is known."""
    states: pl.Series
    """Of `State`, as text."""


def taken_schema(item: Enrichment) -> dict[str, pl.DataType]:
    """Names and types of the columns that an enrichment takes."""
    return {column.name: polars_type(column) for column in item.columns}


def nothing_known(item: Enrichment, rows: int) -> Answered:
    """What a source that is not there says of some rows."""
    columns = pl.DataFrame(schema=taken_schema(item)).clear(rows)
    return Answered(columns, pl.repeat(str(State.MISSING), rows, dtype=pl.String, eager=True))
