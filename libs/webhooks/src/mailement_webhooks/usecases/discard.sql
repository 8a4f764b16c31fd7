-- name: discard
-- Take deliveries out of the queue, and say so in the ledger.
WITH ended AS (
    DELETE FROM delivery_queue AS q
    WHERE q.delivery_id = ANY($1::bigint [])
    RETURNING
        q.delivery_id, q.occurred_at, q.event_id, q.endpoint_id, q.brand_id, q.sequence, q.attempts, q.replay_id
),

-- In order of the key, so that two who count do not wait for each other.
replay AS MATERIALIZED (
    SELECT p.id
    FROM webhook_replays AS p
    WHERE p.id = ANY(ARRAY(SELECT e.replay_id FROM ended AS e WHERE e.replay_id IS NOT NULL))
    ORDER BY p.id
    FOR UPDATE
),

counted AS (
    UPDATE webhook_replays AS p SET
        failed = p.failed + c.failed,
        updated_at = now()
    FROM (
        SELECT
            l.id,
            count(*) AS failed
        FROM replay AS l
        INNER JOIN ended AS e ON l.id = e.replay_id
        GROUP BY l.id
    ) AS c
    WHERE p.id = c.id
)

UPDATE deliveries AS d SET
    -- What has arrived, and was to be sent once more, has arrived all the same.
    state = CASE WHEN d.finished_at IS NOT NULL AND d.reason IS NULL THEN 'delivered' ELSE 'discarded' END,
    reason = CASE WHEN d.finished_at IS NULL OR d.reason IS NOT NULL THEN r.reason END,
    attempts = e.attempts,
    finished_at = CASE WHEN d.finished_at IS NOT NULL AND d.reason IS NULL THEN d.finished_at ELSE now() END
FROM ended AS e
INNER JOIN unnest($1::bigint [], $2::text []) AS r (delivery_id, reason) ON e.delivery_id = r.delivery_id
WHERE
    d.id = e.delivery_id
    AND d.occurred_at = e.occurred_at
    AND d.event_id = e.event_id
    AND d.endpoint_id = e.endpoint_id
    AND d.brand_id = e.brand_id
    AND d.sequence = e.sequence;
