-- The events of one slice of time, [$start, $end), in event order; reads the tables of flights.sql.
-- The order is total: event time, then event type, then the identifiers of the type.
WITH
departed AS (
    SELECT
        'flight_departed' AS event_type, departed_at AS occurred_at, carrier, flight_number, origin, scheduled_departure,
        to_json({
            idempotency_key: flight_key(event_type, carrier, flight_number, origin, scheduled_departure),
            event_type: event_type,
            schema_version: '1.0.0',
            trace_id: trace_id,
            occurred_at: rfc3339(departed_at),
            source: '/airports/' || origin || '/operations',
            carrier: carrier,
            flight_number: flight_number,
            tail_number: tail_number,
            origin: origin,
            destination: destination,
            scheduled_departure: rfc3339(scheduled_departure),
            departure_delay_minutes: departure_delay_minutes,
            distance_miles: distance_miles
        }) AS value
    FROM flight
    WHERE departed_at >= $start AND departed_at < $end
),
cancelled AS (
    SELECT
        'flight_cancelled' AS event_type, scheduled_departure AS occurred_at, carrier, flight_number, origin,
        scheduled_departure,
        to_json({
            idempotency_key: flight_key(event_type, carrier, flight_number, origin, scheduled_departure),
            event_type: event_type,
            schema_version: '1.0.0',
            trace_id: trace_id,
            occurred_at: rfc3339(scheduled_departure),
            source: '/airports/' || origin || '/operations',
            carrier: carrier,
            flight_number: flight_number,
            tail_number: tail_number,
            origin: origin,
            destination: destination,
            scheduled_departure: rfc3339(scheduled_departure),
            distance_miles: distance_miles
        }) AS value
    FROM flight
    WHERE departed_at IS NULL AND scheduled_departure >= $start AND scheduled_departure < $end
),
arrived AS (
    SELECT
        'flight_arrived' AS event_type, arrived_at AS occurred_at, carrier, flight_number, origin, scheduled_departure,
        to_json({
            idempotency_key: flight_key(event_type, carrier, flight_number, origin, scheduled_departure),
            event_type: event_type,
            schema_version: '1.0.0',
            trace_id: trace_id,
            occurred_at: rfc3339(arrived_at),
            source: '/airports/' || destination || '/operations',
            carrier: carrier,
            flight_number: flight_number,
            tail_number: tail_number,
            origin: origin,
            destination: destination,
            scheduled_departure: rfc3339(scheduled_departure),
            arrival_delay_minutes: arrival_delay_minutes,
            air_time_minutes: air_time_minutes,
            distance_miles: distance_miles
        }) AS value
    FROM flight
    WHERE arrived_at >= $start AND arrived_at < $end
),
observed AS (
    SELECT
        'weather_observed' AS event_type, observed_at AS occurred_at, NULL AS carrier, NULL AS flight_number, origin,
        NULL AS scheduled_departure,
        to_json({
            idempotency_key: sha256(concat_ws(chr(31), event_type, origin, key_time(observed_at))),
            event_type: event_type,
            schema_version: '1.0.0',
            trace_id: trace_id,
            occurred_at: rfc3339(observed_at),
            source: '/airports/' || origin || '/weather',
            origin: origin,
            observed_at: rfc3339(observed_at),
            temperature_f: temperature_f,
            dew_point_f: dew_point_f,
            humidity_percent: humidity_percent,
            wind_direction_degrees: wind_direction_degrees,
            wind_speed_mph: wind_speed_mph,
            wind_gust_mph: wind_gust_mph,
            precipitation_in: precipitation_in,
            pressure_mb: pressure_mb,
            visibility_miles: visibility_miles
        }) AS value
    FROM observation
    WHERE observed_at >= $start AND observed_at < $end
)
SELECT
    event_type,
    encode(concat_ws('-', carrier, flight_number, origin)) AS key,
    encode(value::VARCHAR) AS value,
    epoch_us(occurred_at) AS occurred_at_us
FROM (FROM departed UNION ALL FROM cancelled UNION ALL FROM arrived UNION ALL FROM observed)
ORDER BY occurred_at, event_type, carrier, flight_number, origin, scheduled_departure
