-- name: pause
-- Hold what comes for an endpoint; one that is not enabled holds it already.
UPDATE webhook_endpoints AS e SET
    state = 'paused',
    state_reason = 'by_operator',
    updated_at = now()
WHERE e.id = $1 AND e.state = 'enabled' AND ($2::bigint IS NULL OR e.brand_id = $2);
