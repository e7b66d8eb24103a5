WITH flights AS (
    SELECT occurred_at, origin, true AS departed, departure_delay_minutes
    FROM silver.flight_departed
    UNION ALL
    SELECT occurred_at, origin, false AS departed, NULL AS departure_delay_minutes
    FROM silver.flight_cancelled
)
SELECT
    date_trunc('hour', occurred_at) AS window_start,
    origin,
    count(*) FILTER (WHERE departed) AS departed,
    count(*) FILTER (WHERE NOT departed) AS cancelled,
    avg(departure_delay_minutes) AS mean_departure_delay_minutes,
    quantile_cont(departure_delay_minutes, 0.95) AS p95_departure_delay_minutes
FROM flights
GROUP BY window_start, origin
