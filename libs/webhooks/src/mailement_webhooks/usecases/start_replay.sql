-- name: count
-- How many of an endpoint's newest deliveries a filter finds, how many were looked at, and the last number given to any.
SELECT
    count(*) FILTER (
        WHERE
            d.state = ANY(coalesce($3::text [], ARRAY['delivered', 'failed', 'discarded']))
            AND ($2::text [] IS NULL OR d.type = ANY($2))
            AND d.occurred_at >= coalesce($4::timestamptz, '-infinity')
            AND d.occurred_at < coalesce($5::timestamptz, 'infinity')
    ) AS deliveries,
    count(*) AS looked_at,
    coalesce((SELECT s.last FROM webhook_endpoint_sequences AS s WHERE s.endpoint_id = $1), 0) AS last_sequence
FROM (
    SELECT
        k.state,
        k.type,
        k.occurred_at
    FROM deliveries AS k
    WHERE
        k.endpoint_id = $1
        -- Whole months: they leave out parts of the table, and none of their rows is passed by uncounted.
        AND k.occurred_at >= date_trunc('month', coalesce($4::timestamptz, '-infinity'), 'UTC')
        AND k.occurred_at < date_trunc('month', coalesce($5::timestamptz, 'infinity'), 'UTC') + interval '32 days'
    ORDER BY k.sequence DESC
    LIMIT $6::int
) AS d;

-- name: start
-- A replay of what has been counted, unless there are enough; its endpoint's owner takes it up within a second.
INSERT INTO webhook_replays (
    endpoint_id, types, outcomes, occurred_from, occurred_until, rate_per_second, total, total_is_exact, through_sequence
)
SELECT
    e.id,
    $2::text [],
    $3::text [],
    $4,
    $5,
    $6,
    $7,
    $8,
    $9
FROM webhook_endpoints AS e
WHERE
    e.id = $1
    AND e.state <> 'deleted'
    AND $10::int > (
        SELECT count(*)
        FROM webhook_replays AS r
        WHERE r.endpoint_id = e.id AND r.finished_at IS NULL
    )
RETURNING id;
