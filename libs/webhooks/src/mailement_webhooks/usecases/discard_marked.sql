-- name: discard
-- Take out of the queue what will not be sent, and say so in the ledger. What is on its way is left alone.
WITH ended AS (
    DELETE FROM delivery_queue AS q
    -- By array: the planner takes it for a short one and stays with the primary key.
    WHERE
        q.delivery_id = ANY(
            ARRAY(
                SELECT d.delivery_id
                FROM webhook_endpoints AS e
                CROSS JOIN LATERAL (
                    SELECT w.delivery_id
                    FROM delivery_queue AS w
                    WHERE
                        w.endpoint_id = e.id
                        AND w.lease_token IS NULL
                        AND w.sequence <= e.discard_through
                        AND w.created_at <= e.discard_as_of
                    LIMIT $1::int
                    FOR UPDATE SKIP LOCKED
                ) AS d
                WHERE e.discard_through IS NOT NULL
                LIMIT $1::int
            )
        )
    RETURNING
        q.delivery_id, q.occurred_at, q.event_id, q.endpoint_id, q.brand_id, q.sequence, q.attempts, q.replay_id
),

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
    reason = CASE WHEN d.finished_at IS NULL OR d.reason IS NOT NULL THEN coalesce(w.discard_reason, 'drained') END,
    attempts = e.attempts,
    finished_at = CASE WHEN d.finished_at IS NOT NULL AND d.reason IS NULL THEN d.finished_at ELSE now() END
FROM ended AS e
INNER JOIN webhook_endpoints AS w ON e.endpoint_id = w.id
WHERE
    d.id = e.delivery_id
    AND d.occurred_at = e.occurred_at
    AND d.event_id = e.event_id
    AND d.endpoint_id = e.endpoint_id
    AND d.brand_id = e.brand_id
    AND d.sequence = e.sequence
RETURNING d.id;

-- name: unmark
-- The marks that have done their work. Events that were matched just before may still be on their way into the queue.
UPDATE webhook_endpoints AS e SET
    discard_through = NULL,
    discard_reason = NULL
WHERE
    e.discard_through IS NOT NULL
    AND greatest(e.state_changed_at, e.updated_at) < now() - interval '1 minute'
    AND NOT EXISTS (
        SELECT
        FROM delivery_queue AS q
        WHERE q.endpoint_id = e.id AND q.sequence <= e.discard_through AND q.created_at <= e.discard_as_of
    );
