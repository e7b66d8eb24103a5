SELECT
    first_day,
    carrier,
    count(*) AS arrivals,
    count(*) FILTER (WHERE arrival_delay_minutes < 15) / count(*) AS on_time_share,
    avg(arrival_delay_minutes) AS mean_arrival_delay_minutes
FROM silver.flight_arrived, unnest(window_starts(scheduled_departure)) AS windows(first_day)
WHERE arrival_delay_minutes IS NOT NULL
GROUP BY first_day, carrier
