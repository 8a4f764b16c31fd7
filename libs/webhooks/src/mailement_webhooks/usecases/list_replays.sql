-- name: list
-- Replays, the newest first: of one endpoint, of the endpoints of one brand, or one by its id.
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
WHERE
    ($1::bigint IS NULL OR e.brand_id = $1)
    AND ($2::bigint IS NULL OR r.endpoint_id = $2)
    AND ($3::bigint IS NULL OR r.id = $3)
    AND r.id < $4
ORDER BY r.id DESC
LIMIT $5::int;
