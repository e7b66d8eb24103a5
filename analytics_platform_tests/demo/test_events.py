import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from analytics_platform.contract.model import Catalog, Rules
from analytics_platform.demo.events import TOPICS, events
from analytics_platform.errors import InvalidEvents


def of_type(found, event_type):
    return next(event for event in found if event.event_type == event_type)


def test_a_departure_written_out(week):
    event = of_type(week, "flight_departed")
    assert json.loads(event.value) == {
        "idempotency_key": hashlib.sha256(
            "\x1f".join(("flight_departed", "UA", "1545", "EWR", "2013-01-01T10:15:00.000000Z")).encode()
        ).hexdigest(),
        "event_type": "flight_departed",
        "schema_version": "1.0.0",
        "trace_id": json.loads(event.value)["trace_id"],
        "occurred_at": "2013-01-01T10:17:00Z",
        "source": "/airports/EWR/operations",
        "carrier": "UA",
        "flight_number": 1545,
        "tail_number": "N14228",
        "origin": "EWR",
        "destination": "IAH",
        "scheduled_departure": "2013-01-01T10:15:00Z",
        "departure_delay_minutes": 2,
        "distance_miles": 1400,
    }
    assert (event.topic, event.key) == ("flights.departures", b"UA-1545-EWR")
    assert event.headers == (("content-type", b"application/json"),)
    assert event.occurred_at == datetime(2013, 1, 1, 10, 17, tzinfo=UTC)


def test_its_arrival_shares_its_trace(week):
    departure = json.loads(of_type(week, "flight_departed").value)
    [arrival] = [
        fields
        for event in week
        if event.key == b"UA-1545-EWR" and event.event_type == "flight_arrived"
        if (fields := json.loads(event.value))["scheduled_departure"] == departure["scheduled_departure"]
    ]
    assert arrival["trace_id"] == departure["trace_id"]
    assert arrival["occurred_at"] == "2013-01-01T14:30:00Z"  # 8:30 in Houston
    assert (arrival["arrival_delay_minutes"], arrival["air_time_minutes"]) == (11, 227)
    assert arrival["idempotency_key"] != departure["idempotency_key"]


def test_an_observation_written_out(week):
    event = week[0]
    assert (event.topic, event.key) == ("flights.weather", b"EWR")
    assert json.loads(event.value) == {
        "idempotency_key": hashlib.sha256(b"weather_observed\x1fEWR\x1f2013-01-01T06:00:00.000000Z").hexdigest(),
        "event_type": "weather_observed",
        "schema_version": "1.0.0",
        "trace_id": json.loads(event.value)["trace_id"],
        "occurred_at": "2013-01-01T06:00:00Z",
        "source": "/airports/EWR/weather",
        "origin": "EWR",
        "observed_at": "2013-01-01T06:00:00Z",
        "temperature_f": 39.02,
        "dew_point_f": 26.06,
        "humidity_percent": 59.37,
        "wind_direction_degrees": 270,
        "wind_speed_mph": 10.357019999999999,
        "wind_gust_mph": None,
        "precipitation_in": 0.0,
        "pressure_mb": 1012.0,
        "visibility_miles": 10.0,
    }


def test_a_cancelled_flight_without_aircraft(week):
    cancelled = [json.loads(event.value) for event in week if event.event_type == "flight_cancelled"]
    assert all(fields["occurred_at"] == fields["scheduled_departure"] for fields in cancelled)
    assert any(fields["tail_number"] is None for fields in cancelled)


def test_every_key_follows_from_the_identifiers(week):
    for event in week[::7]:
        fields = json.loads(event.value)
        flight = event.event_type != "weather_observed"
        names = ("carrier", "flight_number", "origin", "scheduled_departure") if flight else ("origin", "observed_at")
        parts = [event.event_type, *(str(fields[name]) for name in names)]
        parts[-1] = parts[-1].removesuffix("Z") + ".000000Z"
        assert fields["idempotency_key"] == hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
        assert fields["occurred_at"] == f"{event.occurred_at:%Y-%m-%dT%H:%M:%SZ}"


def test_the_order_is_total(week):
    def place(event):
        fields = json.loads(event.value)
        number = fields.get("flight_number", 0)
        identity = (fields.get("carrier", ""), number, fields["origin"], fields.get("scheduled_departure", ""))
        return (event.occurred_at_us, event.event_type, *identity)

    places = [place(event) for event in week]
    assert all(earlier < later for earlier, later in pairwise(places))


@pytest.mark.parametrize("first", [0, 1, 137])
def test_the_first_events_are_a_prefix(catalog, reference, week, first):
    assert list(events(catalog, reference, first)) == week[:first]


def test_every_type_has_its_topic(week):
    assert {event.event_type for event in week} == set(TOPICS)
    assert {event.topic for event in week} == {"flights.departures", "flights.arrivals", "flights.weather"}


def test_a_contract_that_the_flights_do_not_fit(catalog, reference):
    domain = catalog.domains["flights"]
    strict = [
        replace(
            one,
            fields=tuple(
                replace(item, rules=Rules(minimum=1000)) if item.name == "distance_miles" else item
                for item in one.fields
            ),
        )
        for one in domain.events
    ]
    changed = Catalog({"flights": replace(domain, events=tuple(strict))})
    with pytest.raises(InvalidEvents, match=r"\(flight_departed\): distance_miles: below the minimum of 1000"):
        list(events(changed, reference, 1))


def test_a_contract_that_is_not_there(catalog, reference):
    domain = catalog.domains["flights"]
    others = tuple(one for one in domain.events if one.name != "weather_observed")
    with pytest.raises(InvalidEvents, match="no contract of this name; there are flight_arrived"):
        list(events(Catalog({"flights": replace(domain, events=others)}), reference, 1))


def test_a_newer_contract_leaves_the_recorded_version(catalog, reference, week):
    domain = catalog.domains["flights"]
    newer = [replace(one, header=replace(one.header, version="1.1.0")) for one in domain.events]
    changed = Catalog({"flights": replace(domain, events=(*domain.events, *newer))})
    assert list(events(changed, reference, 50)) == week[:50]
