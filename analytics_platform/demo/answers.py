"""What a perfect platform would hold, computed straight from the Parquet files.

`answers.sql` is the oracle of the demo, the end-to-end tests and the benchmark, so it shares no SQL with `flights.sql`
and `events.sql`, only the definition in docs/demo-data.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from analytics_platform import duck
from analytics_platform.demo.events import TOPICS, open_data

_FLIGHT = ("carrier", "flight_number", "origin", "scheduled_departure")

KEYS: Mapping[str, tuple[str, ...]] = {
    "silver.flight_departed": _FLIGHT,
    "silver.flight_cancelled": _FLIGHT,
    "silver.flight_arrived": _FLIGHT,
    "silver.weather_observed": ("origin", "observed_at"),
    "gold.departures_hourly": ("window_start", "origin"),
    "gold.carrier_daily": ("day", "carrier"),
    "gold.punctuality_weekly": ("first_day", "carrier"),
    "gold.airport_daily": ("day", "origin"),
    "gold.delay_by_weather": ("day", "origin", "wind", "precipitation", "visibility"),
    "gold.aircraft_utilisation": ("day", "model"),
    "gold.aircraft_rotations": ("rotation_start", "tail_number"),
}
"""The tables that are answered, each with the columns that identify a row."""

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Answers:
    """The truth about the first events of the year."""

    tables: Mapping[str, pl.DataFrame]
    """By `<layer>.<name>` as in `KEYS`: business columns only, sorted by key."""
    events_per_type: Mapping[str, int]
    """Of every event type, also those that did not occur yet."""
    cutoff: datetime | None
    """When the last of the events occurred, in UTC; None when there are none."""

    @property
    def events_per_topic(self) -> dict[str, int]:
        """The distinct events of each topic."""
        sums = dict.fromkeys(sorted(set(TOPICS.values())), 0)
        for event_type, count in self.events_per_type.items():
            sums[TOPICS[event_type]] += count
        return sums


def answers(reference: Path, first: int | None = None, *, among: Sequence[int] | None = None) -> Answers:
    """The tables and marts that the first events must lead to; takes a few seconds and 500 MB for the whole year.

    Args:
        reference: Folder of `airports.parquet`, `airlines.parquet` and `planes.parquet`.
        first: How many events, in the order of `events.events`; None is all of them.
        among: Their numbers in that order, from 1, where it is not simply the first that count; None is all.
    """
    with duck.connect() as connection:
        open_data(connection, reference)
        connection.execute("SET VARIABLE first = $first::BIGINT", {"first": first})
        connection.register("among", pl.DataFrame({"number": among or []}, schema={"number": pl.Int64}).to_arrow())
        connection.execute("SET VARIABLE chosen = $chosen::BOOLEAN", {"chosen": among is not None})
        connection.execute(Path(__file__).with_name("answers.sql").read_text(encoding="utf-8"))
        tables = {}
        for table, keys in KEYS.items():
            rows = _rows(connection, f"FROM {duck.identifier(table.partition('.')[2])} ORDER BY {', '.join(keys)}")
            tables[table] = rows.drop("day") if table.startswith("silver.flight_") else rows
        found = dict(connection.execute("SELECT type, count(*) FROM log GROUP BY ALL").fetchall())
        cutoff = _rows(connection, "SELECT max(occurred_at) AS cutoff FROM log")["cutoff"].item()
        return Answers(tables, {event_type: found.get(event_type, 0) for event_type in TOPICS}, cutoff)


def _rows(connection: duck.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    return pl.DataFrame(connection.sql(sql).to_arrow_table())


@dataclass(frozen=True, slots=True)
class Difference:
    """How a table differs from its answer, in rows."""

    lost: int
    """Rows of the answer that the table does not have."""
    doubled: int
    """Rows of the table beyond the first of their key."""
    different: int
    """Keys that both have, with another value in at least one column."""
    foreign: int
    """Keys of the table that the answer does not have."""
    examples: tuple[str, ...]
    """Up to five of them, readable."""

    @property
    def none(self) -> bool:
        """Whether the table is exactly its answer."""
        return not (self.lost or self.doubled or self.different or self.foreign)


def compare(
    actual: pl.DataFrame, expected: pl.DataFrame, keys: Sequence[str], *, relative_tolerance: float = 1e-9
) -> Difference:
    """Hold a table against its answer, in any order of rows.

    Args:
        actual: Has at least the columns of `expected`; others are not looked at.
        expected: One row per key.
        keys: Columns that identify a row.
        relative_tolerance: By how much two floats may differ, as a share of the larger; null equals only null, NaN only NaN.

    Raises:
        ValueError: A column of `expected` is missing in `actual` or of another type.
    """
    wrong = [
        f"{name} is {actual.schema.get(name, 'missing')} instead of {kind}"
        for name, kind in expected.schema.items()
        if actual.schema.get(name) != kind
    ]
    if wrong:
        raise ValueError("the table cannot be compared with its answer: " + ", ".join(wrong))
    keys = list(keys)
    actual = actual.select(expected.columns)
    once = actual.unique(subset=keys, keep="first", maintain_order=True)
    lost = expected.join(once, on=keys, how="anti", nulls_equal=True)
    foreign = once.join(expected, on=keys, how="anti", nulls_equal=True)
    doubled = actual.group_by(keys, maintain_order=True).len().filter(pl.col("len") > 1)
    both = expected.join(once, on=keys, how="inner", nulls_equal=True, suffix="__actual")
    values = [name for name in expected.columns if name not in keys]
    same = [_same(name, expected.schema[name], relative_tolerance) for name in values]
    different = both.filter(~pl.all_horizontal(pl.lit(value=True), *same))
    examples = [
        *(f"lost: {row}" for row in lost.head(EXAMPLES).to_dicts()),
        *(f"doubled {row.pop('len')} times: {row}" for row in doubled.head(EXAMPLES).to_dicts()),
        *(_changes(row, keys, values) for row in different.head(EXAMPLES).to_dicts()),
        *(f"foreign: {row}" for row in foreign.head(EXAMPLES).to_dicts()),
    ]
    return Difference(
        lost.height, actual.height - once.height, different.height, foreign.height, tuple(examples[:EXAMPLES])
    )


def _same(name: str, kind: pl.DataType, relative_tolerance: float) -> pl.Expr:
    expected, actual = pl.col(name), pl.col(f"{name}__actual")
    if not kind.is_float():
        return expected.eq_missing(actual)
    larger = pl.max_horizontal(expected.abs(), actual.abs())
    apart = (expected - actual).abs()
    return expected.eq_missing(actual) | ((apart <= relative_tolerance * larger) & apart.is_finite()).fill_null(
        value=False
    )


def _changes(row: dict[str, object], keys: Sequence[str], values: Sequence[str]) -> str:
    key = {name: row[name] for name in keys}
    changes = [
        f"{name} {row[f'{name}__actual']!r} instead of {row[name]!r}"
        for name in values
        if row[name] != row[f"{name}__actual"]
    ]
    return f"different: {key}: " + ", ".join(changes)
