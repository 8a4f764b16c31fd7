-- name: cancel
-- Mails that runs had queued and that have not left. A statement of its own: it sees what was queued while the runs' rows were waited for.
WITH cancelled AS (
    UPDATE messages AS m SET
        state = 'cancelled',
        error = r.reason,
        finished_at = now()
    FROM unnest($1::bigint [], $2::bigint [], $3::text []) AS r (run_id, subscriber_id, reason)
    WHERE
        m.subscriber_id = r.subscriber_id
        AND m.subscriber_id = ANY($2)
        AND m.enrollment_id = r.run_id
        AND m.state = 'queued'
    RETURNING m.drip_id, m.drip_step_id
)

INSERT INTO drip_tallies (drip_id, step_id, what, n)
SELECT
    c.drip_id,
    coalesce(c.drip_step_id, 0),
    'cancelled',
    count(*)
FROM cancelled AS c
GROUP BY c.drip_id, c.drip_step_id;
