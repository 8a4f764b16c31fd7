-- name: change
-- Take a replay that has not ended into another state, or give it another rate.
UPDATE webhook_replays AS r SET
    state = coalesce($3, r.state),
    rate_per_second = coalesce($4, r.rate_per_second),
    updated_at = now()
FROM webhook_endpoints AS e
WHERE
    r.id = $1
    AND r.endpoint_id = e.id
    AND ($2::bigint IS NULL OR e.brand_id = $2)
    AND r.state IN ('running', 'paused')
RETURNING r.id;
