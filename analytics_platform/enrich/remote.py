"""Outside services as a source: every distinct key asked once, and answers held against the types that were wanted."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Protocol

import polars as pl

from analytics_platform.contract.model import Enrichment, LogicalType
from analytics_platform.enrich.answer import Answered, State, taken_schema
from analytics_platform.lookup.answer import Answer, Found, Key, NotFound, Unavailable

_INTEGERS = range(-(2**63), 2**63)


class Asks(Protocol):
    """Whoever asks services, and never raises for what they do: `lookup.Lookups`."""

    def ask(self, name: str, keys: Iterable[Key]) -> Mapping[Key, Answer]:
        """The answer to each distinct key."""


class _Nobody:
    """Asks no service."""

    def ask(self, _name: str, keys: Iterable[Key]) -> Mapping[Key, Answer]:
        """Nobody can say."""
        return dict.fromkeys(keys, Unavailable("nobody asks"))


NOBODY: Asks = _Nobody()


def remote_answers(lookups: Asks, rows: pl.DataFrame, item: Enrichment) -> Answered:
    """What a service knows of some rows; one whose answer is not of the contract's types is as one without an answer."""
    asked = rows.select(list(item.on)).with_row_index("_place")
    distinct = asked.select(list(item.on)).unique(maintain_order=True).drop_nulls()
    keys = distinct.rows()
    answers = lookups.ask(item.lookup or "", keys) if keys else {}
    values = [_values(answers.get(key), item) for key in keys]
    columns = {
        column.name: pl.Series(column.name, [value[place] if value else None for _, value in values], kind)
        for place, (column, kind) in enumerate(zip(item.columns, taken_schema(item).values(), strict=True))
    }
    states = pl.Series("_state", [str(state) for state, _ in values], pl.String)
    found = distinct.select(pl.all().name.prefix("_on_")).with_columns(*columns.values(), states)
    matched = asked.join(
        found, left_on=list(item.on), right_on=[f"_on_{name}" for name in item.on], how="left", maintain_order="left"
    )
    # A key that has a null is asked of nobody.
    return Answered(matched.select(list(columns)), matched["_state"].fill_null(str(State.NO_KEY)).alias("state"))


def _values(answer: Answer | None, item: Enrichment) -> tuple[State, list[Any]]:
    """What became of a key, and the values of the columns where it is known."""
    if isinstance(answer, NotFound):
        return State.UNKNOWN, []
    if not isinstance(answer, Found):
        return State.MISSING, []
    try:
        return State.KNOWN, [_fitting(answer.values.get(column.name), column.type) for column in item.columns]
    except (ValueError, OverflowError):
        return State.MISSING, []


def _fitting(value: Any, kind: LogicalType) -> Any:
    """A value of JSON as a column of a type holds it.

    Raises:
        ValueError: It is of another type.
    """
    number = isinstance(value, int) and not isinstance(value, bool)
    if value is None:
        return None
    if kind is LogicalType.NUMBER and (number or isinstance(value, float)):
        return float(value)
    if kind is LogicalType.TIMESTAMP and isinstance(value, str):
        at = datetime.fromisoformat(value)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    if kind is LogicalType.DATE and isinstance(value, str):
        return date.fromisoformat(value)
    fits = {
        LogicalType.STRING: isinstance(value, str),
        LogicalType.INTEGER: number and value in _INTEGERS,
        LogicalType.BOOLEAN: isinstance(value, bool),
    }
    if not fits.get(kind, False):
        raise ValueError(f"not of type {kind}")
    return value
