"""The shipped contracts, held against every row of the data they were written for."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from analytics_platform import duck
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.load import load_domain
from analytics_platform.contract.model import Domain, Field, LogicalType
from analytics_platform.contract.reason import Reason

ROOT = Path(__file__).parents[2]
DATA = ROOT / "analytics_platform/demo/data"
FLIGHTS = ROOT / "contracts/flights"

EVENTS = {
    "flight_departed": """
        SELECT
            carrier, flight AS flight_number, tailnum AS tail_number, origin, dest AS destination, scheduled_departure,
            dep_delay AS departure_delay_minutes, distance AS distance_miles,
            scheduled_departure + to_minutes(dep_delay) AS occurred_at
        FROM flights WHERE dep_time IS NOT NULL
    """,
    "flight_cancelled": """
        SELECT
            carrier, flight AS flight_number, tailnum AS tail_number, origin, dest AS destination, scheduled_departure,
            distance AS distance_miles, scheduled_departure AS occurred_at
        FROM flights WHERE dep_time IS NULL
    """,
    # The earliest that it can have arrived.
    "flight_arrived": """
        SELECT
            carrier, flight AS flight_number, tailnum AS tail_number, origin, dest AS destination, scheduled_departure,
            arr_delay AS arrival_delay_minutes, air_time AS air_time_minutes, distance AS distance_miles,
            scheduled_departure + to_minutes(dep_delay + coalesce(air_time, 60)) AS occurred_at
        FROM flights WHERE arr_time IS NOT NULL
    """,
    "weather_observed": """
        SELECT
            origin, CAST(time_hour AS timestamptz) AS observed_at, temp AS temperature_f, dewp AS dew_point_f,
            humid AS humidity_percent, wind_dir AS wind_direction_degrees, wind_speed AS wind_speed_mph,
            wind_gust AS wind_gust_mph, precip AS precipitation_in, pressure AS pressure_mb, visib AS visibility_miles,
            observed_at AS occurred_at
        FROM weather
    """,
}
ROWS = {"flight_departed": 328_521, "flight_cancelled": 8_255, "flight_arrived": 328_063, "weather_observed": 26_115}


@pytest.fixture(scope="module")
def domain() -> Domain:
    return load_domain(FLIGHTS)


@pytest.fixture(scope="module")
def data() -> Iterator[duck.DuckDBPyConnection]:
    with closing(duck.connect()) as connection:
        connection.execute(
            f"""
            CREATE VIEW flights AS
            SELECT *, CAST(time_hour AS timestamptz) + to_minutes(minute) AS scheduled_departure
            FROM read_parquet({duck.literal(str(DATA / "flights.parquet"))});
            CREATE VIEW weather AS FROM read_parquet({duck.literal(str(DATA / "weather.parquet"))});
            """
        )
        for name, query in EVENTS.items():
            connection.execute(f"CREATE TABLE {name} AS {query}")
        yield connection


def broken_rules(field: Field) -> Iterator[str]:
    """Conditions that hold for values the contract does not allow."""
    column, rules = duck.identifier(field.name), field.rules
    if field.required:
        yield f"{column} IS NULL"
    if rules.pattern is not None:
        yield f"NOT regexp_full_match({column}, {duck.literal(rules.pattern)})"
    if rules.enum is not None:
        yield f"{column} NOT IN ({', '.join(map(duck.literal, rules.enum))})"
    if rules.min_length is not None:
        yield f"length({column}) NOT BETWEEN {rules.min_length} AND {rules.max_length}"
    if rules.minimum is not None:
        yield f"{column} NOT BETWEEN {rules.minimum} AND {rules.maximum}"
    if rules.multiple_of is not None:
        yield f"{column} % {rules.multiple_of} <> 0"


def count(connection: duck.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])


@pytest.mark.parametrize("name", EVENTS)
def test_every_real_row_is_allowed(domain: Domain, data: duck.DuckDBPyConnection, name: str) -> None:
    (event,) = domain.versions_of(name)
    payload = [*event.fields[6:], event.fields[4]]
    columns = [row[0] for row in data.execute(f"DESCRIBE {name}").fetchall()]

    assert sorted(columns) == sorted(field.name for field in payload)
    assert count(data, f"SELECT count(*) FROM {name}") == ROWS[name]
    rules = [rule for field in payload for rule in broken_rules(field)]
    rules += [f"NOT ({rule.sql})" for rule in event.row_rules]
    assert {rule: found for rule in rules if (found := count(data, f"SELECT count(*) FROM {name} WHERE {rule}"))} == {}


@pytest.mark.parametrize("name", EVENTS)
def test_identity_tells_every_real_row_from_the_others(
    domain: Domain, data: duck.DuckDBPyConnection, name: str
) -> None:
    (event,) = domain.versions_of(name)
    by = ", ".join(event.identity.by)

    assert count(data, f"SELECT count(DISTINCT ({by})) FROM {name}") == ROWS[name]


def test_number_and_day_do_not_identify_a_flight(data: duck.DuckDBPyConnection) -> None:
    assert count(data, "SELECT count(*) - count(DISTINCT (year, month, day, carrier, flight)) FROM flights") == 24


def test_every_value_has_a_rule(domain: Domain) -> None:
    free = {LogicalType.TIMESTAMP, LogicalType.BOOLEAN, LogicalType.DATE}
    for event in domain.events:
        assert [field.name for field in event.fields if field.rules.enum is None and field.type not in free
                and not any((field.rules.pattern, field.rules.max_length, field.rules.maximum))] == []  # fmt: skip


def test_reference_files_keep_their_contracts(domain: Domain) -> None:
    with closing(duck.connect()) as connection:
        for reference in domain.references:
            table = f"read_parquet({duck.literal(str(reference.file))})"
            rules = [rule for field in reference.fields for rule in broken_rules(field)]
            assert {rule for rule in rules if count(connection, f"SELECT count(*) FROM {table} WHERE {rule}")} == set()
            key = ", ".join(reference.primary_key)
            assert count(connection, f"SELECT count(*) - count(DISTINCT ({key})) FROM {table}") == 0
            assert set(pl.read_parquet_schema(reference.file)) == {field.name for field in reference.fields}


def test_every_column_is_described(domain: Domain) -> None:
    contracts = [(item.name, item.fields) for item in (*domain.events, *domain.references, *domain.marts)]
    assert [(name, field.name) for name, fields in contracts for field in fields if not field.description] == []
    assert domain.description.startswith("Flights that left")


def test_quarantine_page_explains_every_reason() -> None:
    page = (ROOT / "docs/quarantine.md").read_text().split("## Columns")[0]

    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [reason.value for reason in Reason]
    assert [reason for reason in Reason if reason.meaning not in page] == []


def test_contracts_page_derives_a_real_key(domain: Domain) -> None:
    page = (ROOT / "docs/contracts.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(example)  # noqa: S102  # the page's own assertion

    (event,) = domain.versions_of("flight_departed")
    values = {"carrier": "UA", "flight_number": 1545, "origin": "EWR", "scheduled_departure": "2013-01-01T10:15:00Z"}
    assert idempotency_key(event, values) in page
