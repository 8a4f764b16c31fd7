-- name: enable
-- Let deliveries flow again; what is not wanted of those that wait is marked, and housekeeping discards it.
UPDATE webhook_endpoints AS e SET
    state = 'enabled',
    state_reason = NULL,
    discard_through = greatest(e.discard_through, w.through),
    discard_reason = CASE WHEN w.through IS NULL THEN e.discard_reason ELSE 'drained' END,
    updated_at = now()
FROM (
    SELECT CASE $3::text
        WHEN 'discard' THEN max(q.sequence)
        WHEN 'newest_only' THEN nullif(max(q.sequence) - 1, 0)
    END AS through
    FROM delivery_queue AS q
    WHERE $3::text <> 'oldest_first' AND q.endpoint_id = $1 AND q.lease_token IS NULL
) AS w
WHERE e.id = $1 AND e.state <> 'deleted' AND ($2::bigint IS NULL OR e.brand_id = $2)
RETURNING pg_notify('webhook_due', e.id::text);

-- name: start_afresh
-- Forget the failures of an endpoint, and the rest that they brought it.
UPDATE webhook_endpoint_health AS h SET
    consecutive_failures = 0,
    failure_days = 0,
    last_failure_day = NULL,
    first_failure_at = NULL,
    gone_in_a_row = 0,
    breaker_trips = 0,
    hold_until = NULL,
    hold_reason = NULL,
    told = 0,
    fresh_starts = h.fresh_starts + 1,
    updated_at = now()
WHERE h.endpoint_id = $1;
