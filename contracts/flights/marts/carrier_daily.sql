WITH flights AS (
    SELECT scheduled_departure, carrier, true AS departed, distance_miles
    FROM silver.flight_departed
    UNION ALL
    SELECT scheduled_departure, carrier, false AS departed, distance_miles
    FROM silver.flight_cancelled
),
daily AS (
    SELECT
        CAST(timezone('America/New_York', scheduled_departure) AS date) AS day,
        carrier,
        count(*) AS flights,
        count(*) FILTER (WHERE NOT departed) / count(*) AS cancelled_share,
        CAST(coalesce(sum(distance_miles) FILTER (WHERE departed), 0) AS bigint) AS distance_flown_miles
    FROM flights
    GROUP BY day, carrier
),
arrivals AS (
    SELECT
        CAST(timezone('America/New_York', scheduled_departure) AS date) AS day,
        carrier,
        avg(arrival_delay_minutes) AS mean_arrival_delay_minutes
    FROM silver.flight_arrived
    GROUP BY day, carrier
)
SELECT
    daily.day,
    daily.carrier,
    airlines.name AS airline,
    daily.flights,
    daily.cancelled_share,
    arrivals.mean_arrival_delay_minutes,
    daily.distance_flown_miles
FROM daily
LEFT JOIN arrivals USING (day, carrier)
LEFT JOIN reference.airlines AS airlines USING (carrier)
