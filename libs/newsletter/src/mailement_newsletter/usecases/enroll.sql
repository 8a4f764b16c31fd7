-- name: enroll
-- Put a subscriber into a drip, as often as its policy allows; a pending one waits there for the confirmation.
-- Tells which run has to give way first, if it is there that the policy begins anew.
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

entry AS (
    SELECT drip_entry(d.re_enroll, r.last_run, r.active_id) AS verdict
    FROM drip AS d
    CROSS JOIN who AS w
    CROSS JOIN runs AS r
    WHERE d.state IN ('live', 'paused') AND d.delay IS NOT NULL AND w.status IN ('pending', 'confirmed')
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
    CROSS JOIN entry AS n
    -- Without this look a repeated call would burn an id.
    WHERE n.verdict = 'begin'
    ON CONFLICT DO NOTHING
    RETURNING id, drip_id, subscriber_id
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT
        e.drip_id,
        'enrolled',
        1
    FROM enrolled AS e
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
    r.last_run IS NOT NULL AS known,
    CASE WHEN n.verdict = 'anew' THEN r.active_id END AS gives_way
FROM (SELECT 1) AS one
LEFT JOIN drip AS d ON true
LEFT JOIN who AS w ON true
LEFT JOIN runs AS r ON true
LEFT JOIN entry AS n ON true
LEFT JOIN enrolled AS e ON true;
