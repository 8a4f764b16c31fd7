-- name: enroll
-- Put a subscriber into a drip, once; a pending one waits there for the confirmation.
WITH who AS (
    SELECT
        s.id,
        s.status
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.email_key = $2
    UNION ALL
    SELECT
        s.id,
        s.status
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.id = $3
),

drip AS (
    SELECT
        d.id,
        d.state,
        first_step.delay
    FROM drips AS d
    LEFT JOIN LATERAL (
        SELECT t.delay
        FROM drip_steps AS t
        WHERE t.drip_id = d.id AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS first_step ON true
    WHERE d.id = $4 AND d.brand_id = $1
),

enrolled AS (
    INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, anchor_at, next_run_at, enrolled_at)
    SELECT
        d.id,
        $1,
        w.id,
        now(),
        CASE WHEN w.status = 'confirmed' THEN now() + d.delay END,
        now()
    FROM drip AS d
    CROSS JOIN who AS w
    WHERE
        d.state IN ('live', 'paused')
        AND d.delay IS NOT NULL
        AND w.status IN ('pending', 'confirmed')
        -- Without this look a repeated call would burn an id. With a LIMIT it stays one, whatever the planner believes.
        AND (
            SELECT k.id FROM drip_enrollments AS k WHERE k.drip_id = d.id AND k.subscriber_id = w.id LIMIT 1
        ) IS NULL
    ON CONFLICT DO NOTHING
    RETURNING id, drip_id, subscriber_id
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
    (
        SELECT k.id FROM drip_enrollments AS k WHERE k.drip_id = d.id AND k.subscriber_id = w.id LIMIT 1
    ) IS NOT NULL AS known
FROM (SELECT 1) AS one
LEFT JOIN drip AS d ON true
LEFT JOIN who AS w ON true
LEFT JOIN enrolled AS e ON true;
