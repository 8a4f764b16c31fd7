-- name: list
-- The endpoints that are not deleted, of one account, of one brand, or all.
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
    e.updated_at
FROM webhook_endpoints AS e
WHERE
    e.state <> 'deleted'
    AND ($1::bigint IS NULL OR e.account_id = $1)
    AND ($2::bigint IS NULL OR e.brand_id = $2)
    AND ($3::bigint IS NULL OR e.id = $3)
ORDER BY e.id;
