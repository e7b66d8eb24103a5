SELECT
    CAST(timezone('America/New_York', occurred_at) AS date) AS day,
    coalesce(plane_model, 'unknown') AS model,
    count(*) AS departed,
    count(DISTINCT tail_number) AS aircraft,
    count(tail_number) / nullif(count(DISTINCT tail_number), 0) AS departures_per_aircraft,
    CAST(sum(distance_miles) AS bigint) AS distance_flown_miles,
    avg(plane_seats) AS mean_seats,
    CAST(sum(plane_seats * distance_miles) AS bigint) AS seat_miles
FROM silver.flight_departed
GROUP BY day, model
