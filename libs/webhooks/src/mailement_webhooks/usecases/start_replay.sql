-- name: count
-- How many finished deliveries of an endpoint a filter finds, counted up to a bound, and the last number given to any.
SELECT
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM deliveries AS d
            WHERE
                d.endpoint_id = $1
                AND d.state = ANY(coalesce($3::text [], ARRAY['delivered', 'failed', 'discarded']))
                AND ($2::text [] IS NULL OR d.type = ANY($2))
                AND d.occurred_at >= coalesce($4::timestamptz, '-infinity')
                AND d.occurred_at < coalesce($5::timestamptz, 'infinity')
            LIMIT $6::int
        ) AS found
    ) AS deliveries,
    coalesce((SELECT s.last FROM webhook_endpoint_sequences AS s WHERE s.endpoint_id = $1), 0) AS last_sequence;

-- name: start
-- A replay of what has been counted; its endpoint's owner takes it up within a second.
INSERT INTO webhook_replays (
    endpoint_id, types, outcomes, occurred_from, occurred_until, rate_per_second, total, through_sequence
)
SELECT
    e.id,
    $2::text [],
    $3::text [],
    $4,
    $5,
    $6,
    $7,
    $8
FROM webhook_endpoints AS e
WHERE e.id = $1 AND e.state <> 'deleted'
RETURNING id;
