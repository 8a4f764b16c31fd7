-- name: record
-- Write attempts and the states that follow from them together; a result whose lease was lost changes nothing.
WITH result AS (
    SELECT
        r.delivery_id,
        r.lease_token,
        r.outcome,
        r.reason,
        r.detail,
        r.status_code,
        r.response_body,
        r.started_at,
        r.duration_ms
    FROM unnest(
        $1::bigint [],
        $2::uuid [],
        $3::text [],
        $4::text [],
        $5::text [],
        $6::int [],
        $7::text [],
        $8::timestamptz [],
        $9::int []
    ) AS r (
        delivery_id, lease_token, outcome, reason, detail, status_code, response_body, started_at, duration_ms
    )
),

finished AS (
    UPDATE webhook_deliveries AS d SET
        state = r.outcome,
        reason = r.reason,
        lease_token = NULL,
        leased_at = NULL,
        lease_until = NULL,
        finished_at = now()
    FROM result AS r
    WHERE d.id = r.delivery_id AND d.state = 'leased' AND d.lease_token = r.lease_token
    RETURNING d.id, d.attempts
)

INSERT INTO webhook_attempts (
    delivery_id, number, outcome, reason, detail, status_code, response_body, started_at, duration_ms
)
SELECT
    f.id,
    f.attempts,
    r.outcome,
    r.reason,
    r.detail,
    r.status_code,
    r.response_body,
    r.started_at,
    r.duration_ms
FROM finished AS f
INNER JOIN result AS r ON f.id = r.delivery_id
RETURNING delivery_id;
