"""Real flights as events, in the order in which they happened.

One year of departures from New York's airports and its hourly weather (see docs/demo-data.md) becomes four event types.
`flights.sql` says what happened when, `events.sql` the business facts of a slice of time; the records are made by the
helper that every producing team has (docs/producers.md).
`answers.py` computes what must come of these events and shares no SQL with this module.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.model import ENVELOPE, Catalog
from analytics_platform.errors import InvalidEvents
from analytics_platform.produce import Writer

DATA = Path(__file__).parent / "data"
"""Folder of `flights.parquet` and `weather.parquet`."""

TOPICS = {
    "flight_departed": "flights.departures",
    "flight_cancelled": "flights.departures",
    "flight_arrived": "flights.arrivals",
    "weather_observed": "flights.weather",
}
"""The topic of each event type."""

Headers = tuple[tuple[str, bytes | None], ...]

KEY_FIELDS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(TOPICS, ("carrier", "flight_number", "origin")),
    "weather_observed": ("origin",),
}
"""What makes the Kafka key of each event type: all events of a flight number, copies too, share a partition."""

_VERSION = "1.0.0"
"""What is replayed was recorded by this version, whichever came later."""
_ENVELOPE = ("occurred_at", "source", "trace_id")
_PLACE = "_place"
_FIRST, _LONGEST = timedelta(days=2), timedelta(days=28)
"""Slices begin short, so that the first events come at once, and grow: a check has its price, however few its rows."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(NamedTuple):
    """One event as a producer hands it to Kafka."""

    event_type: str
    key: bytes
    """`<carrier>-<flight number>-<origin>`, or the origin for weather: copies of an event share a partition."""
    value: bytes
    """One JSON object, payload and envelope side by side, ASCII only."""
    occurred_at_us: int
    """Microseconds since 1970 in UTC; the same instant as `occurred_at` in the value."""
    headers: Headers

    @property
    def topic(self) -> str:
        """Where it belongs."""
        return TOPICS[self.event_type]

    @property
    def occurred_at(self) -> datetime:
        """Event time, in UTC."""
        return _EPOCH + timedelta(microseconds=self.occurred_at_us)


def events(catalog: Catalog, reference: Path, first: int | None = None) -> Iterator[Event]:
    """The first events of the year, or all 690,954, by event time, then event type, then identifiers.

    Made at most four weeks of event time at a time (about 53,000 events), so memory does not grow with their number.

    Args:
        catalog: Has the contracts by which they are written.
        reference: Folder that holds `airports.parquet`, which knows the airports' time zones.
        first: How many; None is all of them.

    Raises:
        InvalidEvents: some do not fit the catalog's contracts; while they are asked for.
    """
    return islice(_all_events(catalog, reference), first)


def _all_events(catalog: Catalog, reference: Path) -> Iterator[Event]:
    fields = _payload_fields(catalog)
    with closing(Writer(catalog, key_fields=KEY_FIELDS)) as writer, duck.connect() as connection:
        open_data(connection, reference)
        connection.execute(_sql("flights.sql"))
        slice_sql = _sql("events.sql")
        [(start, end)] = connection.execute(
            """
            SELECT min(least(departed_at, scheduled_departure)), max(greatest(arrived_at, departed_at, scheduled_departure))
            FROM (FROM flight UNION ALL BY NAME SELECT observed_at AS scheduled_departure FROM observation)
            """
        ).fetchall()
        step = _FIRST
        while start <= end:
            facts = connection.sql(slice_sql, params={"start": start, "end": start + step}).to_arrow_table()
            yield from _written(pl.DataFrame(pl.from_arrow(facts)), fields, writer)
            start += step
            step = min(2 * step, _LONGEST)


def _payload_fields(catalog: Catalog) -> dict[str, list[str]]:
    """The names of each event type's payload."""
    contracts = [one for domain in catalog.domains.values() for one in domain.events]
    return {
        one.name: [field.name for field in one.fields if field.name not in ENVELOPE]
        for one in contracts
        if one.name in TOPICS and one.header.version == _VERSION
    }


def _written(facts: pl.DataFrame, fields: Mapping[str, Sequence[str]], writer: Writer) -> list[Event]:
    """The events of one slice, in its order."""
    numbered = facts.with_row_index(_PLACE)
    found: dict[int, Event] = {}
    for event_type in TOPICS:
        rows = numbered.filter(event_type=event_type)
        names = [name for name in fields.get(event_type, ()) if name in facts.columns]
        ready, faults = writer.prepared_frame(event_type, rows.select(*_ENVELOPE, *names), version=_VERSION)
        if faults:
            raise InvalidEvents(faults)
        times = rows["occurred_at"].to_physical()
        for place, at, one in zip(rows[_PLACE].to_list(), times.to_list(), ready.records, strict=True):
            found[place] = Event(event_type, one.key or b"", one.value or b"", at, tuple(one.headers))
    return [found[place] for place in range(facts.height)]


def open_data(connection: duck.DuckDBPyConnection, reference: Path) -> None:
    """Make the Parquet files the views `flights`, `weather`, `airports`, `airlines` and `planes` of a connection."""
    files = {
        "flights": DATA / "flights.parquet",
        "weather": DATA / "weather.parquet",
        "airports": reference / "airports.parquet",
        "airlines": reference / "airlines.parquet",
        "planes": reference / "planes.parquet",
    }
    for name, path in files.items():
        connection.execute(f"CREATE VIEW {name} AS FROM read_parquet({duck.literal(str(path))})")


def _sql(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
