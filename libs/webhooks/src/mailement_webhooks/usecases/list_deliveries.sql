-- name: deliveries
-- The newest deliveries of a brand, in one state or any, older than a given one.
SELECT
    d.id,
    d.event_id,
    d.endpoint_id,
    d.brand_id,
    v.type,
    d.state,
    d.reason,
    d.created_at,
    d.finished_at
FROM webhook_deliveries AS d
INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
INNER JOIN webhook_events AS v ON d.event_id = v.event_id AND e.profile = v.profile
WHERE
    d.brand_id = $1
    AND ($2::text IS NULL OR d.state = $2)
    AND ($3::bigint IS NULL OR d.id < $3)
ORDER BY d.id DESC
LIMIT $4::int;

-- name: attempts
-- Every try of some deliveries, in order.
SELECT
    a.delivery_id,
    a.number,
    a.outcome,
    a.reason,
    a.detail,
    a.status_code,
    a.response_body,
    a.started_at,
    a.duration_ms
FROM webhook_attempts AS a
WHERE a.delivery_id = ANY($1::bigint [])
ORDER BY a.delivery_id, a.number;
