-- The business facts of one slice of time, [$start, $end), in event order; reads the tables of flights.sql.
-- Columns are those of all event types, as `Writer.prepared_frame` takes them; a type has no use for those of others.
-- The order is total: event time, then event type, then the identifiers of the type.
WITH
departed AS (
    SELECT
        'flight_departed' AS event_type, departed_at AS occurred_at, '/airports/' || origin || '/operations' AS source,
        trace_id, carrier, flight_number, tail_number, origin, destination, scheduled_departure,
        departure_delay_minutes, distance_miles
    FROM flight
    WHERE departed_at >= $start AND departed_at < $end
),
cancelled AS (
    SELECT
        'flight_cancelled' AS event_type, scheduled_departure AS occurred_at, '/airports/' || origin || '/operations' AS source,
        trace_id, carrier, flight_number, tail_number, origin, destination, scheduled_departure, distance_miles
    FROM flight
    WHERE departed_at IS NULL AND scheduled_departure >= $start AND scheduled_departure < $end
),
arrived AS (
    SELECT
        'flight_arrived' AS event_type, arrived_at AS occurred_at, '/airports/' || destination || '/operations' AS source,
        trace_id, carrier, flight_number, tail_number, origin, destination, scheduled_departure,
        arrival_delay_minutes, air_time_minutes, distance_miles
    FROM flight
    WHERE arrived_at >= $start AND arrived_at < $end
),
observed AS (
    SELECT 'weather_observed' AS event_type, observed_at AS occurred_at, '/airports/' || origin || '/weather' AS source, *
    FROM observation
    WHERE observed_at >= $start AND observed_at < $end
)
SELECT
    * REPLACE (
        occurred_at AT TIME ZONE 'UTC' AS occurred_at,
        scheduled_departure AT TIME ZONE 'UTC' AS scheduled_departure,
        observed_at AT TIME ZONE 'UTC' AS observed_at
    )
FROM (
    FROM departed UNION ALL BY NAME FROM cancelled UNION ALL BY NAME FROM arrived UNION ALL BY NAME FROM observed
)
ORDER BY occurred_at, event_type, carrier, flight_number, origin, scheduled_departure
