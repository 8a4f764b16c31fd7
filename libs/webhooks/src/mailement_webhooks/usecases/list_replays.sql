-- name: list
-- Replays, the newest first: of one endpoint, of the endpoints of one brand, or all.
SELECT
    r.id,
    r.endpoint_id,
    e.brand_id,
    r.types,
    r.outcomes,
    r.occurred_from,
    r.occurred_until,
    r.rate_per_second,
    r.state,
    r.total,
    r.total_is_exact,
    r.enqueued,
    r.delivered,
    r.failed,
    r.at_sequence,
    r.through_sequence,
    r.created_at,
    r.updated_at,
    r.finished_at
FROM webhook_endpoints AS e
CROSS JOIN LATERAL (
    SELECT
        k.id,
        k.endpoint_id,
        k.types,
        k.outcomes,
        k.occurred_from,
        k.occurred_until,
        k.rate_per_second,
        k.state,
        k.total,
        k.total_is_exact,
        k.enqueued,
        k.delivered,
        k.failed,
        k.at_sequence,
        k.through_sequence,
        k.created_at,
        k.updated_at,
        k.finished_at
    FROM webhook_replays AS k
    WHERE k.endpoint_id = e.id AND k.id < $3
    ORDER BY k.id DESC
    LIMIT $4::int
) AS r
WHERE ($1::bigint IS NULL OR e.brand_id = $1) AND ($2::bigint IS NULL OR e.id = $2)
ORDER BY r.id DESC
LIMIT $4::int;

-- name: show
-- One replay, if it is for this brand to see.
SELECT
    r.id,
    r.endpoint_id,
    e.brand_id,
    r.types,
    r.outcomes,
    r.occurred_from,
    r.occurred_until,
    r.rate_per_second,
    r.state,
    r.total,
    r.total_is_exact,
    r.enqueued,
    r.delivered,
    r.failed,
    r.at_sequence,
    r.through_sequence,
    r.created_at,
    r.updated_at,
    r.finished_at
FROM webhook_replays AS r
INNER JOIN webhook_endpoints AS e ON r.endpoint_id = e.id
WHERE r.id = $2 AND ($1::bigint IS NULL OR e.brand_id = $1);
