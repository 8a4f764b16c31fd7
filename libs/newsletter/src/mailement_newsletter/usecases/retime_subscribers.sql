-- name: retime
-- Subscribers whose time zone may have changed: reckon anew when their next steps are due, where drips go by it.
WITH reckoned AS MATERIALIZED (
    SELECT
        k.id,
        k.cursor_pos,
        k.anchor_at,
        drip_due_at(
            k.anchor_at, step.delay, step.kind, step.params,
            d.zone, d.brand_id, s.custom_fields, d.window_start, d.window_end, d.window_days
        ) AS due_at
    FROM unnest($1::bigint []) AS c (subscriber_id)
    CROSS JOIN LATERAL (
        SELECT
            e.id,
            e.drip_id,
            e.cursor_pos,
            e.anchor_at
        FROM drip_enrollments AS e
        WHERE e.subscriber_id = c.subscriber_id AND e.state = 'active' AND e.next_run_at IS NOT NULL AND e.attempts = 0
    ) AS k
    INNER JOIN drips AS d ON k.drip_id = d.id AND d.zone = 'subscriber'
    CROSS JOIN LATERAL (
        SELECT p.custom_fields
        FROM subscribers AS p
        WHERE p.id = c.subscriber_id
        LIMIT 1
    ) AS s
    CROSS JOIN LATERAL (
        SELECT
            t.delay,
            t.kind,
            t.params
        FROM drip_steps AS t
        WHERE t.drip_id = k.drip_id AND t.position > k.cursor_pos AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS step
    WHERE
        (step.kind = 'wait_until' OR (step.kind = 'send' AND d.window_start IS NOT NULL))
        -- Which step is next cannot be told until its runs are moved along; then all of them are reckoned anew.
        AND NOT EXISTS (SELECT FROM drip_jobs AS j WHERE j.drip_id = d.id AND j.kind = 'respace')
)

UPDATE drip_enrollments AS e SET next_run_at = drip_moved_to(e.next_run_at, r.due_at, now())
FROM reckoned AS r
WHERE
    e.id = r.id
    AND e.id = ANY(ARRAY(SELECT x.id FROM reckoned AS x))
    AND e.state = 'active'
    AND e.next_run_at <> drip_moved_to(e.next_run_at, r.due_at, now())
    -- Still where it was reckoned from: the scheduler may have moved it on.
    AND e.cursor_pos = r.cursor_pos
    AND e.anchor_at = r.anchor_at;
