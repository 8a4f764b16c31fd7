-- name: restart
-- End runs whose subscribers begin their drips anew.
WITH ended AS (
    UPDATE drip_enrollments AS e SET
        state = 'cancelled',
        exit_reason = 'restarted',
        next_run_at = NULL,
        ended_at = coalesce($2::timestamptz, now())
    WHERE e.id = ANY($1::bigint []) AND e.state = 'active'
    RETURNING e.id, e.drip_id, e.subscriber_id
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT e.drip_id, 'cancelled', count(*)
    FROM ended AS e
    GROUP BY e.drip_id
)

SELECT
    e.id,
    e.subscriber_id,
    'drip_restarted' AS reason
FROM ended AS e;
