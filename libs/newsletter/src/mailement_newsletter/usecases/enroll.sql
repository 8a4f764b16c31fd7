-- name: enroll
-- Put a subscriber into a drip, as often as its policy allows; a pending one waits there for the confirmation.
WITH who AS MATERIALIZED (
    SELECT
        s.id,
        s.status,
        s.custom_fields
    FROM subscribers AS s
    WHERE
        s.id = (
            SELECT k.id
            FROM subscribers AS k
            WHERE k.brand_id = $1 AND k.email_key = $2
            UNION ALL
            SELECT k.id
            FROM subscribers AS k
            WHERE k.brand_id = $1 AND k.id = $3
        )
    -- Whoever leaves or confirms at this moment comes before or behind, and then sees the run.
    FOR SHARE
),

drip AS (
    SELECT
        d.id,
        d.state,
        d.re_enroll,
        d.zone,
        d.window_start,
        d.window_end,
        d.window_days,
        first_step.delay,
        first_step.kind,
        first_step.params
    FROM drips AS d
    LEFT JOIN LATERAL (
        SELECT
            t.delay,
            t.kind,
            t.params
        FROM drip_steps AS t
        WHERE t.drip_id = d.id AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS first_step ON true
    WHERE d.id = $4 AND d.brand_id = $1
),

-- By drip and subscriber together: also a plan that was made on an empty table finds the few runs by their key.
runs AS MATERIALIZED (
    SELECT
        max(k.run_no) AS last_run,
        max(k.id) FILTER (WHERE k.state = 'active') AS active_id
    FROM drip_enrollments AS k
    WHERE k.drip_id = $4 AND k.subscriber_id = (SELECT w.id FROM who AS w)
),

restarted AS (
    UPDATE drip_enrollments AS e SET
        state = 'cancelled',
        exit_reason = 'restarted',
        next_run_at = NULL,
        ended_at = now()
    WHERE
        e.id = (
            SELECT r.active_id
            FROM runs AS r
            CROSS JOIN drip AS d
            CROSS JOIN who AS w
            WHERE
                d.re_enroll = 'always'
                AND d.state IN ('live', 'paused')
                AND d.delay IS NOT NULL
                AND w.status IN ('pending', 'confirmed')
                AND r.last_run < 32767
        )
        AND e.state = 'active'
    RETURNING e.id, e.drip_id, e.subscriber_id
),

cancelled AS (
    UPDATE messages AS m SET
        state = 'cancelled',
        error = 'drip_restarted',
        finished_at = now()
    FROM restarted AS r
    WHERE
        m.subscriber_id = r.subscriber_id
        AND m.subscriber_id = ANY(ARRAY(SELECT x.subscriber_id FROM restarted AS x))
        AND m.enrollment_id = r.id
        AND m.state = 'queued'
    RETURNING m.drip_id, m.drip_step_id
),

enrolled AS (
    INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, run_no, anchor_at, next_run_at, enrolled_at)
    SELECT
        d.id,
        $1,
        w.id,
        coalesce(r.last_run, 0) + 1,
        now(),
        CASE
            WHEN w.status = 'confirmed' THEN drip_due_at(
                now(), d.delay, d.kind, d.params, d.zone, $1, w.custom_fields, d.window_start, d.window_end, d.window_days
            )
        END,
        now()
    FROM drip AS d
    CROSS JOIN who AS w
    CROSS JOIN runs AS r
    WHERE
        d.state IN ('live', 'paused')
        AND d.delay IS NOT NULL
        AND w.status IN ('pending', 'confirmed')
        -- Without this look a repeated call would burn an id.
        AND (
            r.last_run IS NULL
            OR (
                r.last_run < 32767
                AND (d.re_enroll = 'always' OR (d.re_enroll = 'after_end' AND r.active_id IS NULL))
            )
        )
        AND (SELECT count(*) FROM restarted) >= 0
    ON CONFLICT DO NOTHING
    RETURNING id, drip_id, subscriber_id
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, step_id, what, n)
    SELECT e.drip_id, 0, 'enrolled', 1
    FROM enrolled AS e
    UNION ALL
    SELECT r.drip_id, 0, 'cancelled', 1
    FROM restarted AS r
    UNION ALL
    SELECT c.drip_id, coalesce(c.drip_step_id, 0), 'cancelled', count(*)
    FROM cancelled AS c
    GROUP BY c.drip_id, c.drip_step_id
),

told AS (
    INSERT INTO outbox (event_id, type, brand_id, data, traceparent)
    SELECT
        event_id('enrollment', e.id, 1),
        'drip.enrolled',
        $1,
        jsonb_build_object('enrollment_id', e.id, 'drip_id', e.drip_id, 'subscriber_id', e.subscriber_id),
        $5
    FROM enrolled AS e
)

SELECT
    d.id AS drip_id,
    d.state AS drip_state,
    d.delay IS NOT NULL AS has_steps,
    w.id AS subscriber_id,
    w.status AS subscriber_status,
    e.id IS NOT NULL AS enrolled,
    r.last_run IS NOT NULL AS known
FROM (SELECT 1) AS one
LEFT JOIN drip AS d ON true
LEFT JOIN who AS w ON true
LEFT JOIN runs AS r ON true
LEFT JOIN enrolled AS e ON true;
