-- What happened when: one row per flight and one per weather observation, all times in UTC.
-- Reads the views flights, weather and airports; docs/demo-data.md says what was found in them.

CREATE MACRO minutes_of(clock) AS to_minutes(clock // 100 * 60 + clock % 100);  -- 2400 is the midnight that ends the day
CREATE MACRO at_zone(instant, zone) AS instant AT TIME ZONE 'UTC' AT TIME ZONE zone;
CREATE MACRO from_zone(wall, zone) AS wall AT TIME ZONE zone AT TIME ZONE 'UTC';

CREATE TEMP TABLE flight AS
WITH scheduled AS (
    SELECT
        flights.*,
        time_hour::TIMESTAMP + to_minutes(minute) AS scheduled_departure,
        scheduled_departure + to_minutes(dep_delay) AS departed_at,
        -- The four airports of Puerto Rico and the Virgin Islands are not in the list of airports.
        CASE WHEN dest IN ('SJU', 'PSE', 'BQN', 'STT') THEN 'America/Puerto_Rico' ELSE tzone END AS zone
    FROM flights LEFT JOIN airports ON faa = dest
),
landed AS (
    SELECT
        *,
        at_zone(departed_at, zone) AS departed_wall,
        date_trunc('day', departed_wall) + minutes_of(arr_time) AS that_day,
        that_day + CASE WHEN that_day > departed_wall THEN INTERVAL 0 DAY ELSE INTERVAL 1 DAY END AS arrived_wall,
        -- DuckDB reads a wall time that occurs twice as its second occurrence, and one that never occurs with the offset
        -- before the change; the first occurrence is an hour earlier.
        from_zone(arrived_wall, zone) AS second_occurrence,
        second_occurrence - INTERVAL 1 HOUR AS first_occurrence
    FROM scheduled
)
SELECT
    carrier,
    flight AS flight_number,
    tailnum AS tail_number,
    origin,
    dest AS destination,
    scheduled_departure,
    dep_delay AS departure_delay_minutes,
    arr_delay AS arrival_delay_minutes,
    air_time AS air_time_minutes,
    distance AS distance_miles,
    departed_at,
    CASE
        WHEN first_occurrence > departed_at AND at_zone(first_occurrence, zone) = arrived_wall THEN first_occurrence
        ELSE second_occurrence
    END AS arrived_at,
    md5(concat_ws('/', carrier, flight, origin, scheduled_departure)) AS trace_id
FROM landed
ORDER BY scheduled_departure;

CREATE TEMP TABLE observation AS
SELECT
    origin,
    time_hour::TIMESTAMP AS observed_at,
    temp AS temperature_f,
    dewp AS dew_point_f,
    humid AS humidity_percent,
    wind_dir AS wind_direction_degrees,
    wind_speed AS wind_speed_mph,
    wind_gust AS wind_gust_mph,
    precip AS precipitation_in,
    pressure AS pressure_mb,
    visib AS visibility_miles,
    md5(concat_ws('/', origin, observed_at)) AS trace_id
FROM weather
ORDER BY observed_at;
