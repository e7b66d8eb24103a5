SELECT
    CAST(timezone('America/New_York', flight.occurred_at) AS date) AS day,
    coalesce(planes.model, 'unknown') AS model,
    count(*) AS departed,
    count(DISTINCT flight.tail_number) AS aircraft,
    count(flight.tail_number) / nullif(count(DISTINCT flight.tail_number), 0) AS departures_per_aircraft,
    CAST(sum(flight.distance_miles) AS bigint) AS distance_flown_miles,
    avg(planes.seats) AS mean_seats,
    CAST(sum(planes.seats * flight.distance_miles) AS bigint) AS seat_miles
FROM silver.flight_departed AS flight
LEFT JOIN reference.planes AS planes ON planes.tailnum = flight.tail_number
GROUP BY day, model
