-- name: reopen
-- Take up again what a dispatcher left behind when it died: its attempt is recorded as interrupted.
WITH expired AS (
    SELECT
        d.id,
        d.endpoint_id,
        d.leased_at
    FROM webhook_deliveries AS d
    WHERE d.state = 'leased' AND d.lease_until < now()
    ORDER BY d.lease_until
    LIMIT $1::int
    FOR UPDATE SKIP LOCKED
),

-- Locked, so that whoever deletes an endpoint does not miss a delivery that is between two states.
endpoints AS MATERIALIZED (
    SELECT
        e.id,
        e.state = 'deleted' AS is_deleted
    FROM webhook_endpoints AS e
    WHERE e.id IN (SELECT x.endpoint_id FROM expired AS x)
    ORDER BY e.id
    FOR SHARE
),

reopened AS (
    UPDATE webhook_deliveries AS d SET
        state = CASE WHEN e.is_deleted THEN 'failed' ELSE 'pending' END,
        reason = CASE WHEN e.is_deleted THEN 'endpoint_deleted' ELSE 'interrupted' END,
        finished_at = CASE WHEN e.is_deleted THEN now() END,
        lease_token = NULL,
        leased_at = NULL,
        lease_until = NULL
    FROM expired AS x
    INNER JOIN endpoints AS e ON x.endpoint_id = e.id
    WHERE d.id = x.id
    RETURNING d.id, d.attempts, x.leased_at
)

INSERT INTO webhook_attempts (delivery_id, number, outcome, reason, started_at)
SELECT
    r.id,
    r.attempts,
    'interrupted' AS outcome,
    'interrupted' AS reason,
    r.leased_at
FROM reopened AS r
RETURNING delivery_id;
