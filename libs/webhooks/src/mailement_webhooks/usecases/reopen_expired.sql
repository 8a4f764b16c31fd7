-- name: reopen
-- Take up again what a dispatcher left behind when it died: its attempt is recorded as interrupted.
WITH reopened AS (
    UPDATE delivery_queue AS q SET lease_token = NULL
    -- By array: the planner takes it for a short one and stays with the primary key.
    WHERE
        q.delivery_id = ANY(
            ARRAY(
                SELECT x.delivery_id
                FROM delivery_queue AS x
                WHERE x.lease_token IS NOT NULL AND x.due_at < now()
                ORDER BY x.due_at
                LIMIT $1::int
                FOR UPDATE SKIP LOCKED
            )
        )
    RETURNING q.delivery_id, q.attempts, q.occurred_at, q.endpoint_id, q.trigger, q.leased_at
)

INSERT INTO delivery_attempts (
    delivery_id, number, occurred_at, endpoint_id, trigger, outcome, reason, started_at, next_attempt_at
)
SELECT
    r.delivery_id,
    r.attempts,
    r.occurred_at,
    r.endpoint_id,
    r.trigger,
    'interrupted',
    'interrupted',
    r.leased_at,
    now()
FROM reopened AS r
RETURNING endpoint_id;
