from dataclasses import replace
from pathlib import Path

import pytest

from analytics_platform.contract.lineage import column_lineage
from analytics_platform.contract.load import load_catalog
from analytics_platform_tests import shop

FLIGHTS = load_catalog(Path(__file__).parents[2] / "contracts").domains["flights"]


def said(name: str) -> dict[str, list[str]]:
    (mart,) = [mart for mart in FLIGHTS.marts if mart.name == name]
    return {column: list(map(str, found)) for column, found in column_lineage(FLIGHTS, mart).items()}


def test_the_flights() -> None:
    assert said("carrier_daily") == {
        "day": ["silver.flight_cancelled.scheduled_departure", "silver.flight_departed.scheduled_departure"],
        "carrier": ["silver.flight_cancelled.carrier", "silver.flight_departed.carrier"],
        "airline": ["reference.airlines.name"],
        "flights": [],
        "cancelled_share": [],
        "mean_arrival_delay_minutes": ["silver.flight_arrived.arrival_delay_minutes"],
        "distance_flown_miles": ["silver.flight_cancelled.distance_miles", "silver.flight_departed.distance_miles"],
    }
    assert said("punctuality_weekly") == {
        "first_day": ["silver.flight_arrived.scheduled_departure"],
        "carrier": ["silver.flight_arrived.carrier"],
        "arrivals": [],
        "on_time_share": ["silver.flight_arrived.arrival_delay_minutes"],
        "mean_arrival_delay_minutes": ["silver.flight_arrived.arrival_delay_minutes"],
    }
    assert said("aircraft_rotations") == {
        "rotation_start": ["silver.flight_arrived.occurred_at", "silver.flight_departed.occurred_at"],
        "tail_number": ["silver.flight_arrived.tail_number", "silver.flight_departed.tail_number"],
        "rotation_end": ["silver.flight_arrived.occurred_at", "silver.flight_departed.occurred_at"],
        "first_departure": ["silver.flight_departed.occurred_at"],
        "last_departure": ["silver.flight_departed.occurred_at"],
        "departures": ["silver.flight_departed.occurred_at"],
        "arrivals": ["silver.flight_departed.occurred_at"],
        "mean_minutes_between_departures": ["silver.flight_departed.occurred_at"],
    }
    assert said("airport_daily")["departed_in_busiest_hour"] == ["gold.departures_hourly.departed"]


@pytest.mark.parametrize(
    ("sql", "day", "cents"),
    [
        ("SELECT * FROM gold.all_days", ["gold.all_days.day"], ["gold.all_days.cents"]),
        ("FROM gold.all_days", ["gold.all_days.day"], ["gold.all_days.cents"]),
        (
            "WITH a AS (SELECT day AS d, cents + orders AS c FROM gold.all_days) SELECT d AS day, 1 AS orders, c AS cents FROM a",
            ["gold.all_days.day"],
            ["gold.all_days.cents", "gold.all_days.orders"],
        ),
        (
            'SELECT "day", orders, (SELECT max(cents) FROM gold.all_days) AS cents FROM gold.all_days',
            ["gold.all_days.day"],
            ["gold.all_days.cents"],
        ),
        (
            "SELECT day, orders, cents FROM gold.all_days UNION ALL SELECT day, orders, 0 FROM gold.all_days",
            ["gold.all_days.day"],
            ["gold.all_days.cents"],
        ),
    ],
)
def test_ways_to_write_sql(sql: str, day: list[str], cents: list[str]) -> None:
    domain = shop.domain(marts=("sales_hourly", "sales_daily", *shop.MORE_MARTS))
    (mart,) = [mart for mart in domain.marts if mart.name == "best_days"]
    found = column_lineage(domain, replace(mart, sql=sql))
    assert (list(map(str, found["day"])), list(map(str, found["cents"]))) == (day, cents)


def test_sql_that_only_duckdb_understands() -> None:
    (mart,) = [mart for mart in FLIGHTS.marts if mart.name == "airport_daily"]
    assert column_lineage(FLIGHTS, replace(mart, sql="FROM (FROM (")) == {}


def test_every_mart_of_the_tests_is_understood() -> None:
    domain = shop.domain(marts=("sales_hourly", "sales_daily", *shop.MORE_MARTS))
    for mart in domain.marts:
        assert set(column_lineage(domain, mart)) == {field.name for field in mart.fields}
