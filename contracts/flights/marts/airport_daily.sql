SELECT
    window_starts(window_start)[1] AS day,
    origin,
    CAST(sum(departed) AS bigint) AS departed,
    CAST(sum(cancelled) AS bigint) AS cancelled,
    max(departed) AS departed_in_busiest_hour
FROM gold.departures_hourly
GROUP BY day, origin
