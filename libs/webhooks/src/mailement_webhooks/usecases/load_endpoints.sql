-- name: load
-- Some endpoints with their sealed secrets, and their health if anything is known of it.
SELECT
    e.id,
    e.account_id,
    e.brand_id,
    e.profile,
    e.url,
    e.description,
    e.event_types,
    e.state,
    e.state_reason,
    e.state_changed_at,
    e.retries,
    e.ordered,
    e.max_in_flight,
    e.rate_per_second,
    e.secret_staged_at,
    e.secret_promoted_at,
    e.version,
    e.created_at,
    e.updated_at,
    e.shard,
    e.secret_sealed,
    e.secret_staged_sealed,
    e.secret_previous_sealed,
    h.consecutive_failures,
    h.failure_days,
    h.last_failure_day,
    h.first_failure_at,
    h.last_success_at,
    h.gone_in_a_row,
    h.breaker_trips,
    h.hold_until,
    h.hold_reason,
    h.told
FROM webhook_endpoints AS e
LEFT JOIN webhook_endpoint_health AS h ON e.id = h.endpoint_id
WHERE e.id = ANY($1::bigint []);
