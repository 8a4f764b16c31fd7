-- name: expire
-- Take out of the queue what nobody has wanted for days, and say so in the ledger.
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
                        AND w.lane = ANY('{0,1}'::smallint [])
                        AND w.lease_token IS NULL
                        AND w.due_at <= now() - make_interval(days => $1::int)
                    LIMIT $2::int
                    FOR UPDATE SKIP LOCKED
                ) AS d
                WHERE
                    e.state IN ('paused', 'disabled')
                    AND e.state_changed_at <= now() - make_interval(days => $1::int)
                LIMIT $2::int
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
    reason = CASE WHEN d.finished_at IS NULL OR d.reason IS NOT NULL THEN 'hold_expired' END,
    attempts = e.attempts,
    finished_at = CASE WHEN d.finished_at IS NOT NULL AND d.reason IS NULL THEN d.finished_at ELSE now() END
FROM ended AS e
WHERE
    d.id = e.delivery_id
    AND d.occurred_at = e.occurred_at
    AND d.event_id = e.event_id
    AND d.endpoint_id = e.endpoint_id
    AND d.brand_id = e.brand_id
    AND d.sequence = e.sequence
RETURNING d.id;
