-- name: enroll_triggered
-- Enrol subscribers in the drips that their signup starts; who is in a drip already stays as he is.
INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, anchor_at, next_run_at, enrolled_at)
SELECT
    d.id,
    d.brand_id,
    s.id,
    now(),
    now() + first_step.delay,
    now()
FROM jsonb_to_recordset($1) AS e (brand_id bigint, subscriber_id bigint, confirmed boolean, topic_ids bigint [])
INNER JOIN drips AS d
    ON
        e.brand_id = d.brand_id
        AND d.state IN ('live', 'paused')
        AND (
            (d.trigger = 'subscriber_confirmed' AND e.confirmed)
            OR (d.trigger = 'topic_added' AND d.trigger_topic_id = ANY(e.topic_ids))
        )
CROSS JOIN LATERAL (
    SELECT k.id
    FROM subscribers AS k
    WHERE k.id = e.subscriber_id AND k.status = 'confirmed'
    LIMIT 1
) AS s
INNER JOIN LATERAL (
    SELECT t.delay
    FROM drip_steps AS t
    WHERE t.drip_id = d.id AND t.deleted_at IS NULL
    ORDER BY t.position
    LIMIT 1
) AS first_step ON true
WHERE (
    SELECT k.id FROM drip_enrollments AS k WHERE k.drip_id = d.id AND k.subscriber_id = s.id LIMIT 1
) IS NULL
ORDER BY d.id, s.id
ON CONFLICT DO NOTHING;

-- name: release_waiting
-- Start the clock of enrolments that waited for their subscriber's confirmation.
UPDATE drip_enrollments AS e SET
    anchor_at = now(),
    next_run_at = now() + (
        SELECT t.delay
        FROM drip_steps AS t
        WHERE t.drip_id = e.drip_id AND t.deleted_at IS NULL AND t.position > e.cursor_pos
        ORDER BY t.position
        LIMIT 1
    )
WHERE
    e.subscriber_id = ANY($1::bigint [])
    AND e.state = 'active'
    AND e.next_run_at IS NULL
    -- Not a join: a plan that was made on empty tables would begin with all subscribers.
    AND (SELECT s.status FROM subscribers AS s WHERE s.id = e.subscriber_id) = 'confirmed';
