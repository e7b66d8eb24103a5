-- What a perfect platform holds after the first $first events (all when null), or those numbered in the view among where
-- $chosen is true: one table per answer.
-- Reads the views flights, weather, airports, airlines and planes. On purpose it shares nothing with flights.sql and events.sql: scheduled
-- times come from the local date and clock instead of time_hour, arrivals from elapsed minutes instead of wall times.

CREATE TEMP TABLE truth AS
WITH clocks AS (
    SELECT
        *,
        timezone('America/New_York', make_timestamp(year, month, day, hour, minute, 0)) AS scheduled_departure,
        if(dest IN ('BQN', 'PSE', 'SJU', 'STT'), 'America/Puerto_Rico', airports.tzone) AS zone,
        scheduled_departure + dep_delay * INTERVAL 1 MINUTE AS departed,
        60 * date_part('hour', timezone(zone, departed)) + date_part('minute', timezone(zone, departed)) AS left_minute,
        60 * (arr_time // 100) + arr_time % 100 AS landed_minute,
        -- From 1 to 1440: landing at the very minute of leaving means a day later.
        (landed_minute - left_minute + 2879) % 1440 + 1 AS elapsed,
        departed + elapsed * INTERVAL 1 MINUTE AS unshifted,
        -- Where clocks changed during the flight, the difference of the clocks is not the time that passed.
        unshifted - (
            (timezone(zone, unshifted) - timezone('UTC', unshifted)) - (timezone(zone, departed) - timezone('UTC', departed))
        ) AS shifted
    FROM flights LEFT JOIN airports ON airports.faa = dest
)
SELECT
    carrier, flight AS flight_number, tailnum AS tail_number, origin, dest AS destination, scheduled_departure,
    make_date(year, month, day) AS day, distance AS distance_miles, dep_delay, arr_delay, air_time, departed,
    CASE
        WHEN arr_time IS NULL THEN NULL
        -- A clock that never showed the time (it was put forward over it) had not been put forward when it was read.
        WHEN strftime(timezone(zone, shifted), '%H%M') = printf('%02d%02d', landed_minute // 60 % 24, landed_minute % 60)
            THEN shifted
        ELSE unshifted
    END AS landed
FROM clocks;

CREATE TEMP TABLE log AS
WITH happened AS (
    SELECT departed AS occurred_at, 'flight_departed' AS type, carrier, flight_number, origin, scheduled_departure
    FROM truth WHERE departed IS NOT NULL
    UNION ALL
    SELECT scheduled_departure, 'flight_cancelled', carrier, flight_number, origin, scheduled_departure
    FROM truth WHERE departed IS NULL
    UNION ALL
    SELECT landed, 'flight_arrived', carrier, flight_number, origin, scheduled_departure
    FROM truth WHERE landed IS NOT NULL
    UNION ALL
    SELECT time_hour::TIMESTAMPTZ, 'weather_observed', NULL, NULL, origin, NULL
    FROM weather
)
FROM happened
QUALIFY row_number() OVER (ORDER BY occurred_at, type, carrier, flight_number, origin, scheduled_departure)
    <= coalesce(getvariable('first'), 9223372036854775807)
    AND (
        NOT getvariable('chosen')
        OR row_number() OVER (ORDER BY occurred_at, type, carrier, flight_number, origin, scheduled_departure)
            IN (SELECT number FROM among)
    );

CREATE TEMP TABLE flight_departed AS
SELECT
    occurred_at, carrier, flight_number, tail_number, origin, destination, scheduled_departure,
    dep_delay AS departure_delay_minutes, distance_miles, day
FROM log JOIN truth USING (carrier, flight_number, origin, scheduled_departure)
WHERE type = 'flight_departed';

CREATE TEMP TABLE flight_cancelled AS
SELECT
    occurred_at, carrier, flight_number, tail_number, origin, destination, scheduled_departure, distance_miles, day
FROM log JOIN truth USING (carrier, flight_number, origin, scheduled_departure)
WHERE type = 'flight_cancelled';

CREATE TEMP TABLE flight_arrived AS
SELECT
    occurred_at, carrier, flight_number, tail_number, origin, destination, scheduled_departure,
    arr_delay AS arrival_delay_minutes, air_time AS air_time_minutes, distance_miles, day
FROM log JOIN truth USING (carrier, flight_number, origin, scheduled_departure)
WHERE type = 'flight_arrived';

CREATE TEMP TABLE weather_observed AS
SELECT
    occurred_at, weather.origin, occurred_at AS observed_at, temp AS temperature_f, dewp AS dew_point_f,
    humid AS humidity_percent, wind_dir AS wind_direction_degrees, wind_speed AS wind_speed_mph,
    wind_gust AS wind_gust_mph, precip AS precipitation_in, pressure AS pressure_mb, visib AS visibility_miles
FROM log JOIN weather ON log.origin = weather.origin AND log.occurred_at = weather.time_hour::TIMESTAMPTZ
WHERE type = 'weather_observed';

CREATE TEMP TABLE departures_hourly AS
WITH
hours AS (
    SELECT date_trunc('hour', occurred_at) AS window_start, origin, count(*) FILTER (type = 'flight_departed') AS departed,
        count(*) FILTER (type = 'flight_cancelled') AS cancelled
    FROM log WHERE type IN ('flight_departed', 'flight_cancelled') GROUP BY ALL
),
delays AS (
    SELECT date_trunc('hour', occurred_at) AS window_start, origin,
        sum(departure_delay_minutes) / count(*) AS mean_departure_delay_minutes,
        quantile_cont(departure_delay_minutes, 0.95) AS p95_departure_delay_minutes
    FROM flight_departed GROUP BY ALL
)
FROM hours LEFT JOIN delays USING (window_start, origin);

CREATE TEMP TABLE carrier_daily AS
WITH
flown AS (
    SELECT day, carrier, count(*) AS departed, sum(distance_miles) AS miles FROM flight_departed GROUP BY ALL
),
dropped AS (
    SELECT day, carrier, count(*) AS cancelled FROM flight_cancelled GROUP BY ALL
),
arrived AS (
    SELECT day, carrier, sum(arrival_delay_minutes) / count(arrival_delay_minutes) AS delay
    FROM flight_arrived GROUP BY ALL
)
SELECT
    day,
    carrier,
    name AS airline,
    coalesce(departed, 0) + coalesce(cancelled, 0) AS flights,
    coalesce(cancelled, 0) / flights AS cancelled_share,
    delay AS mean_arrival_delay_minutes,
    coalesce(miles, 0)::BIGINT AS distance_flown_miles
FROM flown
FULL JOIN dropped USING (day, carrier)
LEFT JOIN arrived USING (day, carrier)
JOIN airlines USING (carrier);

CREATE TEMP TABLE punctuality_weekly AS
SELECT
    (day - back::INTEGER) AS first_day, carrier, count(*) AS arrivals,
    sum(if(arrival_delay_minutes < 15, 1, 0)) / count(*) AS on_time_share,
    sum(arrival_delay_minutes) / count(*) AS mean_arrival_delay_minutes
FROM flight_arrived CROSS JOIN range(7) AS backs(back)
WHERE arrival_delay_minutes IS NOT NULL
GROUP BY ALL;

CREATE TEMP TABLE airport_daily AS
WITH clocked AS (
    SELECT timezone('America/New_York', occurred_at) AS clock, occurred_at, origin, type
    FROM log WHERE type IN ('flight_departed', 'flight_cancelled')
),
-- By the instant: where clocks are put back an hour, the same clock shows two hours.
busiest AS (
    SELECT day, origin, max(departed) AS most
    FROM (
        SELECT any_value(clock::DATE ORDER BY clock) AS day, origin, count(*) FILTER (type = 'flight_departed') AS departed
        FROM clocked GROUP BY epoch_ms(occurred_at) // 3_600_000, origin
    ) GROUP BY ALL
)
SELECT
    clock::DATE AS day, clocked.origin, count(*) FILTER (type = 'flight_departed') AS departed,
    count(*) FILTER (type = 'flight_cancelled') AS cancelled, any_value(most) AS departed_in_busiest_hour
FROM clocked JOIN busiest ON busiest.day = clock::DATE AND busiest.origin = clocked.origin
GROUP BY ALL;

-- Observations stand for full hours: the latest of two hours is that of the hour, or of the one before it, or, on the hour, of
-- the second one before.
CREATE TEMP TABLE delay_by_weather AS
WITH
hourly AS (
    FROM weather_observed SELECT origin, observed_at, {'wind': wind_speed_mph, 'rain': precipitation_in, 'sight': visibility_miles} AS seen
),
known AS (
    SELECT left_on AS day, flight.origin, departure_delay_minutes AS delay, coalesce(now.seen, before.seen, earlier.seen) AS seen
    FROM (
        SELECT *, timezone('America/New_York', occurred_at)::DATE AS left_on, date_trunc('hour', occurred_at) AS hour
        FROM flight_departed
    ) AS flight
    LEFT JOIN hourly AS now ON now.origin = flight.origin AND now.observed_at = hour
    LEFT JOIN hourly AS before ON before.origin = flight.origin AND before.observed_at = hour - INTERVAL 1 HOUR
    LEFT JOIN hourly AS earlier
        ON earlier.origin = flight.origin AND earlier.observed_at = hour - INTERVAL 2 HOUR AND hour = occurred_at
)
SELECT
    day, origin,
    coalesce(['light', 'moderate', 'strong'][1 + (seen.wind >= 8)::INT + (seen.wind >= 25)::INT], 'unknown') AS wind,
    coalesce(
        ['none', 'light', 'moderate', 'heavy'][1 + (seen.rain > 0)::INT + (seen.rain > 0.1)::INT + (seen.rain > 0.3)::INT],
        'unknown'
    ) AS precipitation,
    coalesce(
        ['very low', 'low', 'marginal', 'good'][1 + (seen.sight >= 1)::INT + (seen.sight >= 3)::INT + (seen.sight > 5)::INT],
        'unknown'
    ) AS visibility,
    count(*) AS departed, count(*) - count(*) FILTER (delay < 15) AS departed_late,
    sum(delay) / count(*) AS mean_departure_delay_minutes, max(delay) AS longest_departure_delay_minutes
FROM known GROUP BY ALL;

CREATE TEMP TABLE aircraft_utilisation AS
WITH flown AS (
    SELECT
        timezone('America/New_York', occurred_at)::DATE AS day, tail_number, count(*) AS departed, sum(distance_miles) AS miles
    FROM flight_departed GROUP BY ALL
),
models AS (
    SELECT flown.*, coalesce(model, 'unknown') AS model, seats FROM flown LEFT JOIN planes ON tailnum = tail_number
)
SELECT
    day, model, sum(departed)::BIGINT AS departed, count(tail_number) AS aircraft,
    sum(departed) FILTER (tail_number IS NOT NULL) / nullif(count(tail_number), 0) AS departures_per_aircraft,
    sum(miles)::BIGINT AS distance_flown_miles,
    sum(seats * departed) / sum(departed) FILTER (seats IS NOT NULL) AS mean_seats,
    sum(seats * miles)::BIGINT AS seat_miles
FROM models GROUP BY ALL;

-- By the end of the silence before: an event opens a rotation when none of its aircraft was in the eight hours before it.
CREATE TEMP TABLE aircraft_rotations AS
WITH
seen AS (
    SELECT tail_number, occurred_at, 1 AS leaves FROM flight_departed WHERE tail_number IS NOT NULL
    UNION ALL
    SELECT tail_number, occurred_at, 0 AS leaves FROM flight_arrived WHERE tail_number IS NOT NULL
),
opened AS (
    SELECT DISTINCT tail_number, occurred_at AS rotation_start FROM seen
    QUALIFY count(*) OVER (
        PARTITION BY tail_number ORDER BY occurred_at
        RANGE BETWEEN INTERVAL 8 HOURS PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING
    ) = 0
),
placed AS (
    SELECT seen.*, rotation_start,
        epoch(occurred_at - lag(occurred_at) OVER (PARTITION BY seen.tail_number, rotation_start, leaves ORDER BY occurred_at))
            / 60 AS minutes
    FROM seen ASOF JOIN opened ON seen.tail_number = opened.tail_number AND occurred_at >= rotation_start
)
SELECT
    rotation_start, tail_number, max(occurred_at) AS rotation_end,
    min(if(leaves = 1, occurred_at, NULL)) AS first_departure, max(if(leaves = 1, occurred_at, NULL)) AS last_departure,
    sum(leaves)::BIGINT AS departures, sum(1 - leaves)::BIGINT AS arrivals,
    avg(minutes) FILTER (leaves = 1) AS mean_minutes_between_departures
FROM placed
GROUP BY rotation_start, tail_number;
