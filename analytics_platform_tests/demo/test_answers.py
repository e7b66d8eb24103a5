import math
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import polars as pl
import pyarrow as pa
import pytest

from analytics_platform import duck
from analytics_platform.demo.answers import KEYS, Difference, answers, compare
from analytics_platform.demo.events import events

CHUNK = 50_000


@pytest.fixture(scope="module")
def year(reference):
    """The whole year's answers."""
    return answers(reference)


@pytest.fixture(scope="module")
def sent(catalog, reference, year):
    """The whole year's events, read back from their JSON into one table `event` of a database."""
    fields = {name: kind for frame in year.tables.values() for name, kind in frame.schema.items()}
    names = {
        pl.Int64: "BIGINT",
        pl.Float64: "DOUBLE",
        pl.String: "VARCHAR",
        pl.Datetime: "TIMESTAMPTZ",
        pl.Date: "DATE",
    }
    shape = {"event_type": "VARCHAR", "idempotency_key": "VARCHAR", "trace_id": "VARCHAR"}
    shape |= {name: names[kind.base_type()] for name, kind in fields.items()}
    structure = "{" + ", ".join(f'"{name}": "{kind}"' for name, kind in shape.items()) + "}"
    columns = ", ".join(f"{name} {kind}" for name, kind in shape.items())
    with duck.connect() as connection:
        connection.execute(f"CREATE TABLE event (position BIGINT, sent_at TIMESTAMPTZ, {columns})")
        stream, position = events(catalog, reference), 0
        while True:
            # Two plain lists: kept events would be walked by the garbage collector again and again.
            instants, values = [], []
            for event in islice(stream, CHUNK):
                instants.append(event.occurred_at_us)
                values.append(event.value.decode())
            if not values:
                break
            rows = {"position": range(position, position + len(values)), "us": instants, "value": values}
            connection.register("chunk", pa.table(rows))
            connection.execute(
                f"INSERT INTO event SELECT position, make_timestamp(us), unnest(json_transform(value, '{structure}')) "
                "FROM chunk"
            )
            connection.unregister("chunk")
            position += len(values)
        yield connection


@pytest.mark.parametrize("table", [table for table in KEYS if table.startswith("silver")])
def test_the_whole_year_of_events_is_its_answer(sent, year, table):
    columns = ", ".join(year.tables[table].columns)
    rows = sent.sql(f"SELECT {columns} FROM event WHERE event_type = '{table.partition('.')[2]}'").to_arrow_table()
    found = compare(pl.DataFrame(rows), year.tables[table], KEYS[table], relative_tolerance=0)
    assert found == Difference(0, 0, 0, 0, ())


def test_the_year_in_numbers(sent, year):
    assert year.events_per_type == {
        "flight_departed": 328_521,
        "flight_cancelled": 8_255,
        "flight_arrived": 328_063,
        "weather_observed": 26_115,
    }
    assert year.events_per_topic == {
        "flights.arrivals": 328_063,
        "flights.departures": 336_776,
        "flights.weather": 26_115,
    }
    counted = sent.execute("SELECT event_type, count(*) FROM event GROUP BY ALL").fetchall()
    assert dict(counted) == year.events_per_type


def test_every_event_has_a_key_of_its_own(sent):
    assert sent.execute("SELECT count(DISTINCT idempotency_key), count(*) FROM event").fetchall() == [
        (690_954, 690_954)
    ]


def test_events_are_sent_in_event_order(sent):
    found = sent.execute(
        "SELECT count(*) FILTER (sent_at <> occurred_at), count(*) FILTER (before > sent_at) "
        "FROM (SELECT *, lag(sent_at) OVER (ORDER BY position) AS before FROM event)"
    ).fetchall()
    assert found == [(0, 0)]


def test_flights_spend_more_time_between_gates_than_in_the_air(sent):
    found = sent.execute(
        "SELECT min(taxi), max(taxi), median(taxi) FROM ("
        "  SELECT date_diff('minute', d.occurred_at, a.occurred_at) - a.air_time_minutes AS taxi"
        "  FROM event a JOIN event d USING (trace_id)"
        "  WHERE a.event_type = 'flight_arrived' AND d.event_type = 'flight_departed')"
    ).fetchall()
    assert found == [(5, 235, 28.0)]


@pytest.mark.parametrize(
    ("flight", "scheduled", "landed"),
    [
        # 2:03 in Palm Beach, a time that the clocks skipped that night: read before they were put forward.
        (("B6", 35, "JFK"), "2013-03-10T02:45Z", "2013-03-10T07:03Z"),
        # 1:14 in Los Angeles, which came twice that night: the first of them.
        (("VX", 413, "JFK"), "2013-11-02T20:55Z", "2013-11-03T08:14Z"),
        # 24:00 in Raleigh.
        (("B6", 1109, "JFK"), "2013-01-02T02:55Z", "2013-01-02T05:00Z"),
        # 10:04 in Aguadilla, which is missing in the list of airports.
        (("B6", 725, "JFK"), "2013-01-01T10:45Z", "2013-01-01T14:04Z"),
    ],
)
def test_arrivals_that_need_thought(year, flight, scheduled, landed):
    carrier, number, origin = flight
    arrived = year.tables["silver.flight_arrived"].filter(
        pl.col("scheduled_departure") == datetime.fromisoformat(scheduled),
        carrier=carrier,
        flight_number=number,
        origin=origin,
    )
    assert arrived["occurred_at"].to_list() == [datetime.fromisoformat(landed)]


def test_marts_hold_the_whole_year(year):
    hourly, daily = year.tables["gold.departures_hourly"], year.tables["gold.carrier_daily"]
    assert (hourly["departed"].sum(), hourly["cancelled"].sum()) == (328_521, 8_255)
    assert daily["flights"].sum() == 336_776
    assert (daily["flights"] * daily["cancelled_share"]).sum() == pytest.approx(8_255)
    assert (daily["day"].min(), daily["day"].max()) == (date(2013, 1, 1), date(2013, 12, 31))
    airports, weekly = year.tables["gold.airport_daily"], year.tables["gold.punctuality_weekly"]
    assert (airports["departed"].sum(), airports["cancelled"].sum()) == (328_521, 8_255)
    hours = hourly.with_columns(day=pl.col("window_start").dt.convert_time_zone("America/New_York").dt.date())
    busiest = hours.group_by("day", "origin").agg(pl.col("departed").max()).sort("day", "origin")["departed"]
    assert airports["departed_in_busiest_hour"].to_list() == busiest.to_list()
    assert weekly["arrivals"].sum() == 7 * 327_346  # each flight that has an arrival delay, in seven windows
    assert (weekly["first_day"].min(), weekly["first_day"].max()) == (date(2012, 12, 26), date(2013, 12, 31))
    rotations = year.tables["gold.aircraft_rotations"]
    known = [year.tables[f"silver.flight_{word}"].drop_nulls("tail_number").height for word in ("departed", "arrived")]
    assert [rotations["departures"].sum(), rotations["arrivals"].sum()] == known
    rests = rotations.sort("tail_number", "rotation_start").select(
        pl.col("rotation_start") - pl.col("rotation_end").shift().over("tail_number")
    )
    assert rests.min().item() > timedelta(hours=8)
    for table, keys in KEYS.items():
        assert not year.tables[table].select(keys).is_duplicated().any()


def test_weather_as_of_departure(year):
    weather = year.tables["silver.weather_observed"].sort("observed_at")
    joined = (
        year.tables["silver.flight_departed"]
        .sort("occurred_at")
        .join_asof(
            weather, left_on="occurred_at", right_on="observed_at", by="origin", tolerance="2h", check_sortedness=False
        )
        .with_columns(
            day=pl.col("occurred_at").dt.convert_time_zone("America/New_York").dt.date(),
            wind=band("wind_speed_mph", [8, 25], ["light", "moderate", "strong"]),
            precipitation=band(
                "precipitation_in", [1e-9, 0.1 + 1e-9, 0.3 + 1e-9], ["none", "light", "moderate", "heavy"]
            ),
            visibility=band("visibility_miles", [1, 3, 5 + 1e-9], ["very low", "low", "marginal", "good"]),
        )
    )
    found, keys = year.tables["gold.delay_by_weather"], KEYS["gold.delay_by_weather"]
    delay = pl.col("departure_delay_minutes")
    expected = joined.group_by(keys).agg(
        departed=pl.len().cast(pl.Int64),
        departed_late=(delay >= 15).sum().cast(pl.Int64),
        mean_departure_delay_minutes=delay.mean(),
        longest_departure_delay_minutes=delay.max(),
    )
    assert compare(found, expected.select(found.columns), keys).none
    assert found["departed"].sum() == 328_521
    unknown = found.filter(wind="unknown", precipitation="unknown", visibility="unknown")
    assert (joined["observed_at"].null_count(), unknown["departed"].sum()) == (1_015, 1_015)


def band(column: str, breaks: list[float], labels: list[str]) -> pl.Expr:
    """Which of some bands a number is in; each begins with its break."""
    place = pl.sum_horizontal((pl.col(column) >= at).cast(pl.Int64) for at in breaks)
    return (
        pl.when(pl.col(column).is_not_null())
        .then(place.replace_strict(dict(enumerate(labels))))
        .otherwise(pl.lit("unknown"))
    )


def test_aircraft_by_model(year, reference):
    found = year.tables["gold.aircraft_utilisation"]
    planes = pl.read_parquet(reference / "planes.parquet").select(
        pl.col("tailnum").alias("tail_number"), "model", "seats"
    )
    flown = year.tables["silver.flight_departed"].join(planes, on="tail_number", how="left")
    day = pl.col("occurred_at").dt.convert_time_zone("America/New_York").dt.date()
    expected = (
        flown.with_columns(pl.col("model").fill_null("unknown"), day=day)
        .group_by("day", "model")
        .agg(
            departed=pl.len().cast(pl.Int64),
            aircraft=pl.col("tail_number").n_unique().cast(pl.Int64),
            departures_per_aircraft=pl.len() / pl.col("tail_number").n_unique(),
            distance_flown_miles=pl.col("distance_miles").sum(),
            mean_seats=pl.col("seats").mean(),
            seat_miles=(pl.col("seats") * pl.col("distance_miles")).sum(),
        )
        .with_columns(pl.when(pl.col("model") != "unknown").then("seat_miles").alias("seat_miles"))
    )
    assert compare(found, expected.select(found.columns), KEYS["gold.aircraft_utilisation"]).none
    assert found.filter(model="unknown")["departed"].sum() == 48_550


def test_the_first_hour_of_departures_by_hand(reference):
    # Up to 11:00 UTC, 6:00 in New York; delays as the file has them, one by one.
    delays = {"EWR": [-5, -4, -2, -1, 2], "JFK": [-3, -2, -2, -2, -1, 0, 2], "LGA": [-6, -3, -2, -1, 4]}
    p95 = {"EWR": -1 + 0.8 * 3, "JFK": 0 + 0.7 * 2, "LGA": -1 + 0.8 * 5}
    found = answers(reference, 32)  # 15 observations before, 17 departures in that hour
    assert found.cutoff == datetime(2013, 1, 1, 10, 59, tzinfo=UTC)
    assert found.events_per_type == {
        "flight_departed": 17, "flight_cancelled": 0, "flight_arrived": 0, "weather_observed": 15,
    }  # fmt: skip
    expected = pl.DataFrame(
        {
            "window_start": [datetime(2013, 1, 1, 10, tzinfo=UTC)] * 3,
            "origin": list(delays),
            "departed": [5, 7, 5],
            "cancelled": [0, 0, 0],
            "mean_departure_delay_minutes": [sum(all_) / len(all_) for all_ in delays.values()],
            "p95_departure_delay_minutes": list(p95.values()),
        },
        schema=found.tables["gold.departures_hourly"].schema,
    )
    assert compare(found.tables["gold.departures_hourly"], expected, ["window_start", "origin"]).none
    days = [
        ("AA", "American Airlines Inc.", 3, 1089 + 733 + 1389),
        ("B6", "JetBlue Airways", 6, 1576 + 1065 + 944 + 1028 + 1005 + 187),
        ("DL", "Delta Air Lines Inc.", 1, 762),
        ("EV", "ExpressJet Airlines Inc.", 1, 229),
        ("UA", "United Air Lines Inc.", 6, 1400 + 1416 + 719 + 2475 + 2565 + 2227),
    ]
    assert found.tables["gold.carrier_daily"].rows() == [
        (date(2013, 1, 1), carrier, airline, flights, 0.0, None, miles) for carrier, airline, flights, miles in days
    ]


@pytest.mark.parametrize("first", [0, 12_345])
def test_the_first_events_are_those_that_are_sent(reference, week, first):
    found = answers(reference, first)
    counted = Counter(event.event_type for event in week[:first])
    assert {event_type: count for event_type, count in found.events_per_type.items() if count} == counted
    assert found.cutoff == (week[first - 1].occurred_at if first else None)
    assert sum(found.tables[table].height for table in KEYS if table.startswith("silver")) == first


EXPECTED = pl.DataFrame({"key": ["a", "b", None], "count": [1, None, 3], "mean": [0.1 + 0.2, None, math.nan]})


def test_equal_in_any_order_with_columns_of_its_own():
    actual = EXPECTED.reverse().with_columns(_offset=pl.lit(1)).select("_offset", "mean", "count", "key")
    assert compare(actual, EXPECTED, ["key"]) == Difference(0, 0, 0, 0, ())
    assert compare(actual, EXPECTED, ["key"]).none


def test_a_lost_row():
    found = compare(EXPECTED.filter(pl.col("key") != "a"), EXPECTED.filter(pl.col("key").is_not_null()), ["key"])
    assert found == Difference(1, 0, 0, 0, ("lost: {'key': 'a', 'count': 1, 'mean': 0.30000000000000004}",))


def test_a_row_three_times():
    found = compare(pl.concat([EXPECTED, EXPECTED[2:], EXPECTED[2:]]), EXPECTED, ["key"])
    assert found == Difference(0, 2, 0, 0, ("doubled 3 times: {'key': None}",))


def test_a_foreign_row():
    found = compare(EXPECTED, EXPECTED[:2], ["key"])
    assert (found.lost, found.doubled, found.different, found.foreign, found.none) == (0, 0, 0, 1, False)


@pytest.mark.parametrize(
    ("key", "column", "value", "different"),
    [
        ("a", "count", 2, 1),
        ("a", "count", None, 1),
        ("b", "count", 0, 1),
        ("a", "mean", 0.3, 0),
        ("a", "mean", 0.3 * (1 + 1e-8), 1),
        ("a", "mean", None, 1),
        ("a", "mean", math.nan, 1),
        ("a", "mean", math.inf, 1),
        ("b", "mean", 0.0, 1),
    ],
)
def test_a_value_changed(key, column, value, different):
    actual = EXPECTED.with_columns(
        pl.when(pl.col("key") == key).then(pl.lit(value, EXPECTED.schema[column])).otherwise(column).alias(column)
    )
    found = compare(actual, EXPECTED, ["key"])
    assert (found.lost, found.doubled, found.different, found.foreign) == (0, 0, different, 0)
    assert len(found.examples) == different


def test_a_change_is_readable():
    found = compare(EXPECTED.with_columns(count=pl.lit(1, pl.Int64)), EXPECTED[:2], ["key"])
    assert found.examples[0] == "different: {'key': 'b'}: count 1 instead of None"


def test_at_most_five_examples():
    expected = pl.DataFrame({"key": range(100), "value": range(100)})
    found = compare(expected[:0], expected, ["key"])
    assert (found.lost, len(found.examples)) == (100, 5)


@pytest.mark.parametrize("actual", [EXPECTED.drop("count"), EXPECTED.cast({"count": pl.Float64})])
def test_a_table_of_another_shape_is_no_difference(actual):
    with pytest.raises(ValueError, match=r"count is (missing|Float64) instead of Int64"):
        compare(actual, EXPECTED, ["key"])
