-- name: overdue
-- Lock what nobody has wanted for days. What is on its way is left alone.
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
LIMIT $2::int;
