"""Real flights as events, in the order in which they happened.

One year of departures from New York's airports and its hourly weather (see docs/demo-data.md) becomes four event types.
`flights.sql` says what happened when, `events.sql` writes a slice of time as JSON; here they are only run.
`answers.py` computes what must come of these events and shares no SQL with this module.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from analytics_platform import duck

DATA = Path(__file__).parent / "data"
"""Folder of `flights.parquet` and `weather.parquet`."""

TOPICS = {
    "flight_departed": "flights.departures",
    "flight_cancelled": "flights.departures",
    "flight_arrived": "flights.arrivals",
    "weather_observed": "flights.weather",
}
"""The topic of each event type."""

Headers = tuple[tuple[str, bytes], ...]

HEADERS: Headers = (("content-type", b"application/json"),)
"""The headers of every event."""

_SLICE = timedelta(days=14)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(NamedTuple):
    """One event as a producer hands it to Kafka."""

    event_type: str
    key: bytes
    """`<carrier>-<flight number>-<origin>`, or the origin for weather: copies of an event share a partition."""
    value: bytes
    """One JSON object, envelope and payload side by side, ASCII only."""
    occurred_at_us: int
    """Microseconds since 1970 in UTC; the same instant as `occurred_at` in the value."""
    headers: Headers = HEADERS

    @property
    def topic(self) -> str:
        """Where it belongs."""
        return TOPICS[self.event_type]

    @property
    def occurred_at(self) -> datetime:
        """Event time, in UTC."""
        return _EPOCH + timedelta(microseconds=self.occurred_at_us)


def events(reference: Path, first: int | None = None) -> Iterator[Event]:
    """The first events of the year, or all 690,954, by event time, then event type, then identifiers.

    Made two weeks of event time at a time (about 26,000 events), so memory does not grow with their number.

    Args:
        reference: Folder that holds `airports.parquet`, which knows the airports' time zones.
        first: How many; None is all of them.
    """
    return islice(_all_events(reference), first)


def _all_events(reference: Path) -> Iterator[Event]:
    with duck.connect() as connection:
        open_data(connection, reference)
        connection.execute(_sql("flights.sql"))
        connection.execute(
            r"""
            CREATE MACRO rfc3339(instant) AS strftime(instant, '%Y-%m-%dT%H:%M:%SZ');
            CREATE MACRO key_time(instant) AS strftime(instant, '%Y-%m-%dT%H:%M:%S.%fZ');
            CREATE MACRO flight_key(event_type, carrier, flight_number, origin, scheduled_departure) AS sha256(
                concat_ws(chr(31), event_type, carrier, flight_number, origin, key_time(scheduled_departure))
            );
            """
        )
        slice_sql = _sql("events.sql")
        [(start, end)] = connection.execute(
            """
            SELECT min(least(departed_at, scheduled_departure)), max(greatest(arrived_at, departed_at, scheduled_departure))
            FROM (FROM flight UNION ALL BY NAME SELECT observed_at AS scheduled_departure FROM observation)
            """
        ).fetchall()
        while start <= end:
            rows = connection.execute(slice_sql, {"start": start, "end": start + _SLICE}).fetchall()
            yield from map(Event._make, ((*row, HEADERS) for row in rows))
            start += _SLICE


def open_data(connection: duck.DuckDBPyConnection, reference: Path) -> None:
    """Make the Parquet files the views `flights`, `weather`, `airports` and `airlines` of a connection."""
    files = {
        "flights": DATA / "flights.parquet",
        "weather": DATA / "weather.parquet",
        "airports": reference / "airports.parquet",
        "airlines": reference / "airlines.parquet",
    }
    for name, path in files.items():
        connection.execute(f"CREATE VIEW {name} AS FROM read_parquet({duck.literal(str(path))})")


def _sql(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
