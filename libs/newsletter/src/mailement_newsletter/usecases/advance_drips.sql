-- name: advance
-- Take what is due, write its mail and move on: one statement, so a crash undoes it whole. Other schedulers skip the locked rows.
WITH due AS MATERIALIZED (
    SELECT
        e.id,
        e.drip_id,
        e.brand_id,
        e.subscriber_id,
        e.cursor_pos
    FROM (
        SELECT d.id
        FROM drips AS d
        WHERE d.state = 'live'
        ORDER BY (d.id <= $2), d.id
        -- The fence keeps the planner from sorting behind the join, where it would lock far more rows than it takes.
        OFFSET 0
    ) AS live
    CROSS JOIN LATERAL (
        SELECT
            k.id,
            k.drip_id,
            k.brand_id,
            k.subscriber_id,
            k.cursor_pos
        FROM drip_enrollments AS k
        WHERE k.drip_id = live.id AND k.state = 'active' AND k.next_run_at <= $1
        ORDER BY k.next_run_at
        LIMIT $3
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS e
    LIMIT $3
),

plan AS MATERIALIZED (
    SELECT
        due.id,
        due.drip_id,
        due.brand_id,
        due.subscriber_id,
        due.cursor_pos,
        s.status AS subscriber_status,
        step.id AS step_id,
        step.position AS step_pos,
        later.delay AS later_delay
    FROM due
    -- LATERAL with a LIMIT stays an index look-up per row: a plan that is made once for any size of batch
    -- would rather read the whole table.
    LEFT JOIN LATERAL (
        SELECT k.status
        FROM subscribers AS k
        WHERE k.id = due.subscriber_id
        LIMIT 1
    ) AS s ON true
    LEFT JOIN LATERAL (
        SELECT
            t.id,
            t.position
        FROM drip_steps AS t
        WHERE t.drip_id = due.drip_id AND t.position > due.cursor_pos AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS step ON true
    LEFT JOIN LATERAL (
        SELECT t.delay
        FROM drip_steps AS t
        WHERE t.drip_id = due.drip_id AND t.position > step.position AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS later ON true
),

queued AS (
    INSERT INTO messages (brand_id, subscriber_id, kind, drip_id, drip_step_id, enrollment_id, dedupe_key, not_before, created_at)
    SELECT
        p.brand_id,
        p.subscriber_id,
        'drip',
        p.drip_id,
        p.step_id,
        p.id,
        'drip:' || p.id || ':' || p.step_id,
        $1,
        $1
    FROM plan AS p
    WHERE p.subscriber_status = 'confirmed' AND p.step_id IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING id, brand_id
),

advanced AS (
    UPDATE drip_enrollments AS e SET
        cursor_pos = CASE WHEN p.subscriber_status = 'confirmed' THEN coalesce(p.step_pos, e.cursor_pos) ELSE e.cursor_pos END,
        anchor_at = $1,
        state = CASE
            WHEN p.subscriber_status = 'pending' THEN 'active'
            WHEN p.subscriber_status IS DISTINCT FROM 'confirmed' THEN 'exited'
            WHEN p.later_delay IS NULL THEN 'completed'
            ELSE 'active'
        END,
        exit_reason = CASE
            WHEN p.subscriber_status IN ('pending', 'confirmed') THEN NULL
            ELSE coalesce(p.subscriber_status, 'deleted')
        END,
        next_run_at = CASE WHEN p.subscriber_status = 'confirmed' THEN $1 + p.later_delay END
    FROM plan AS p
    -- The array says the same as the join, and keeps it on the primary key.
    WHERE e.id = p.id AND e.id = ANY(ARRAY(SELECT k.id FROM plan AS k))
),

-- One event for the batch and brand: it only says that there is work.
told AS (
    INSERT INTO outbox (event_id, type, brand_id, data)
    SELECT
        event_id('message', min(q.id), 1),
        'message.queued',
        q.brand_id,
        jsonb_build_object('count', count(*))
    FROM queued AS q
    GROUP BY q.brand_id
)

SELECT
    count(*)::int AS due,
    (SELECT count(*) FROM queued)::int AS queued,
    coalesce(max(p.drip_id), 0)::bigint AS last_drip_id
FROM plan AS p;

-- name: next_due
-- When the next step is due, over all live drips; three pages for each of them.
SELECT min(first_due.next_run_at) AS next_run_at
FROM drips AS d
CROSS JOIN LATERAL (
    SELECT k.next_run_at
    FROM drip_enrollments AS k
    WHERE k.drip_id = d.id AND k.state = 'active' AND k.next_run_at IS NOT NULL
    ORDER BY k.next_run_at
    LIMIT 1
) AS first_due
WHERE d.state = 'live';
