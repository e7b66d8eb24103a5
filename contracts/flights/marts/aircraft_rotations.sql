WITH events AS (
    SELECT _session, tail_number, occurred_at, occurred_at AS departed_at
    FROM silver.flight_departed
    UNION ALL
    SELECT _session, tail_number, occurred_at, NULL AS departed_at
    FROM silver.flight_arrived
)
SELECT
    _session AS rotation_start,
    tail_number,
    max(occurred_at) AS rotation_end,
    min(departed_at) AS first_departure,
    max(departed_at) AS last_departure,
    count(departed_at) AS departures,
    count(*) - count(departed_at) AS arrivals,
    CASE
        WHEN count(departed_at) > 1
            THEN date_diff('microsecond', min(departed_at), max(departed_at)) / (60e6 * (count(departed_at) - 1))
    END AS mean_minutes_between_departures
FROM events
GROUP BY _session, tail_number
