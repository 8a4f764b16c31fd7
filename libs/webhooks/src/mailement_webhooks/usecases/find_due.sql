-- name: sweep
-- When the first delivery of each of the next endpoints is due: a probe per lane, however much waits.
SELECT
    e.id,
    extract(EPOCH FROM least(
        (
            SELECT q.due_at
            FROM delivery_queue AS q
            WHERE q.endpoint_id = e.id AND q.lane = 0 AND q.lease_token IS NULL
            ORDER BY q.due_at
            LIMIT 1
        ),
        (
            SELECT q.due_at
            FROM delivery_queue AS q
            WHERE q.endpoint_id = e.id AND q.lane = 1 AND q.lease_token IS NULL
            ORDER BY q.due_at
            LIMIT 1
        )
    ) - now())::float AS due_in
FROM (
    SELECT w.id
    FROM webhook_endpoints AS w
    WHERE w.state = 'enabled' AND w.shard = ANY($1::int []) AND w.id > $2::bigint
    ORDER BY w.id
    LIMIT $3::int
) AS e
ORDER BY e.id;
