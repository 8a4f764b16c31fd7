-- name: save
-- How some endpoints fare, as their owner sees it, unless somebody switched them on again since. In order of the key.
INSERT INTO webhook_endpoint_health AS h (
    endpoint_id,
    consecutive_failures,
    failure_days,
    last_failure_day,
    first_failure_at,
    last_success_at,
    gone_in_a_row,
    breaker_trips,
    hold_until,
    hold_reason,
    told,
    fresh_starts
)
SELECT
    r.endpoint_id,
    r.consecutive_failures,
    r.failure_days,
    r.last_failure_day,
    r.first_failure_at,
    r.last_success_at,
    r.gone_in_a_row,
    r.breaker_trips,
    r.hold_until,
    r.hold_reason,
    r.told,
    r.fresh_starts
FROM unnest(
    $1::bigint [],
    $2::int [],
    $3::int [],
    $4::date [],
    $5::timestamptz [],
    $6::timestamptz [],
    $7::int [],
    $8::int [],
    $9::timestamptz [],
    $10::text [],
    $11::int [],
    $12::int []
) AS r (
    endpoint_id,
    consecutive_failures,
    failure_days,
    last_failure_day,
    first_failure_at,
    last_success_at,
    gone_in_a_row,
    breaker_trips,
    hold_until,
    hold_reason,
    told,
    fresh_starts
)
ORDER BY r.endpoint_id
ON CONFLICT (endpoint_id) DO UPDATE SET
    consecutive_failures = excluded.consecutive_failures,
    failure_days = excluded.failure_days,
    last_failure_day = excluded.last_failure_day,
    first_failure_at = excluded.first_failure_at,
    last_success_at = excluded.last_success_at,
    gone_in_a_row = excluded.gone_in_a_row,
    breaker_trips = excluded.breaker_trips,
    hold_until = excluded.hold_until,
    hold_reason = excluded.hold_reason,
    told = excluded.told,
    updated_at = now()
WHERE h.fresh_starts = excluded.fresh_starts
RETURNING endpoint_id;
