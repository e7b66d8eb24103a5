WITH departures AS (
    SELECT
        flight.origin,
        flight.occurred_at,
        flight.departure_delay_minutes,
        weather.observed_at >= flight.occurred_at - INTERVAL 2 HOURS AS is_observed,
        weather.wind_speed_mph,
        weather.precipitation_in,
        weather.visibility_miles
    FROM silver.flight_departed AS flight
    ASOF LEFT JOIN silver.weather_observed AS weather
        ON flight.origin = weather.origin AND flight.occurred_at >= weather.observed_at
)
SELECT
    CAST(timezone('America/New_York', occurred_at) AS date) AS day,
    origin,
    CASE
        WHEN NOT coalesce(is_observed, false) OR wind_speed_mph IS NULL THEN 'unknown'
        WHEN wind_speed_mph < 8 THEN 'light'
        WHEN wind_speed_mph < 25 THEN 'moderate'
        ELSE 'strong'
    END AS wind,
    CASE
        WHEN NOT coalesce(is_observed, false) OR precipitation_in IS NULL THEN 'unknown'
        WHEN precipitation_in = 0 THEN 'none'
        WHEN precipitation_in <= 0.1 THEN 'light'
        WHEN precipitation_in <= 0.3 THEN 'moderate'
        ELSE 'heavy'
    END AS precipitation,
    CASE
        WHEN NOT coalesce(is_observed, false) OR visibility_miles IS NULL THEN 'unknown'
        WHEN visibility_miles < 1 THEN 'very low'
        WHEN visibility_miles < 3 THEN 'low'
        WHEN visibility_miles <= 5 THEN 'marginal'
        ELSE 'good'
    END AS visibility,
    count(*) AS departed,
    count(*) FILTER (WHERE departure_delay_minutes >= 15) AS departed_late,
    avg(departure_delay_minutes) AS mean_departure_delay_minutes,
    max(departure_delay_minutes) AS longest_departure_delay_minutes
FROM departures
GROUP BY day, origin, wind, precipitation, visibility
