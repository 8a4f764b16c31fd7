-- name: enroll
-- Enrol those whose day has come, and write down their next one. Who is more than a day late is left out this time.
WITH due AS MATERIALIZED (
    SELECT
        k.drip_id,
        k.subscriber_id,
        k.due_at
    FROM drips AS d
    CROSS JOIN LATERAL (
        SELECT
            t.drip_id,
            t.subscriber_id,
            t.due_at
        FROM drip_dates AS t
        WHERE t.drip_id = d.id AND t.due_at <= $1
        ORDER BY t.due_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ) AS k
    WHERE d.trigger = 'date' AND d.state = 'live'
    LIMIT $2
),

asked AS MATERIALIZED (
    SELECT
        due.drip_id,
        d.brand_id,
        due.subscriber_id,
        due.due_at,
        d.trigger_yearly,
        coalesce(runs.last_run, 0) AS last_run,
        runs.active_id,
        due.due_at > $1 - interval '1 day'
        AND s.status = 'confirmed'
        AND first_step.delay IS NOT NULL
        AND coalesce(runs.last_run, 0) < 32767
        -- A yearly occasion is a new one each year; while last year's run lasts, the policy says whether it gives way.
        AND (
            runs.last_run IS NULL
            OR d.re_enroll = 'always'
            OR ((d.re_enroll = 'after_end' OR d.trigger_yearly) AND runs.active_id IS NULL)
        ) AS enrolls,
        CASE WHEN d.re_enroll = 'always' THEN runs.active_id END AS restarts,
        drip_due_at(
            $1, first_step.delay, first_step.kind, first_step.params,
            d.zone, d.brand_id, s.custom_fields, d.window_start, d.window_end, d.window_days
        ) AS next_run_at,
        -- Also of a date that comes but once: it may have been moved while the drip was paused.
        CASE
            WHEN s.status = 'confirmed' THEN drip_date_due(
                s.custom_fields ->> d.trigger_field,
                d.trigger_days,
                d.trigger_yearly,
                d.trigger_time,
                drip_zone(d.zone, d.brand_id, s.custom_fields),
                $1
            )
        END AS next_date
    FROM due
    INNER JOIN drips AS d ON due.drip_id = d.id
    LEFT JOIN LATERAL (
        SELECT
            k.status,
            k.custom_fields
        FROM subscribers AS k
        WHERE k.id = due.subscriber_id
        LIMIT 1
    ) AS s ON true
    LEFT JOIN LATERAL (
        SELECT
            t.delay,
            t.kind,
            t.params
        FROM drip_steps AS t
        WHERE t.drip_id = due.drip_id AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS first_step ON true
    CROSS JOIN LATERAL (
        SELECT
            max(k.run_no) AS last_run,
            max(k.id) FILTER (WHERE k.state = 'active') AS active_id
        FROM drip_enrollments AS k
        WHERE k.drip_id = due.drip_id AND k.subscriber_id = due.subscriber_id
    ) AS runs
),

struck AS (
    DELETE FROM drip_dates AS k
    USING asked AS a
    WHERE k.drip_id = a.drip_id AND k.subscriber_id = a.subscriber_id AND a.next_date IS NULL
),

planned AS (
    UPDATE drip_dates AS k SET due_at = a.next_date
    FROM asked AS a
    WHERE k.drip_id = a.drip_id AND k.subscriber_id = a.subscriber_id AND a.next_date IS NOT NULL
),

restarted AS (
    UPDATE drip_enrollments AS e SET
        state = 'cancelled',
        exit_reason = 'restarted',
        next_run_at = NULL,
        ended_at = $1
    WHERE
        e.id = ANY(ARRAY(SELECT a.restarts FROM asked AS a WHERE a.enrolls AND a.restarts IS NOT NULL))
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
        a.drip_id,
        a.brand_id,
        a.subscriber_id,
        a.last_run + 1,
        $1,
        a.next_run_at,
        $1
    FROM asked AS a
    WHERE a.enrolls AND (SELECT count(*) FROM restarted) >= 0
    ORDER BY a.drip_id, a.subscriber_id
    ON CONFLICT DO NOTHING
    RETURNING drip_id
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, step_id, what, n)
    SELECT e.drip_id, 0, 'enrolled', count(*)
    FROM enrolled AS e
    GROUP BY e.drip_id
    UNION ALL
    SELECT r.drip_id, 0, 'cancelled', count(*)
    FROM restarted AS r
    GROUP BY r.drip_id
    UNION ALL
    SELECT c.drip_id, coalesce(c.drip_step_id, 0), 'cancelled', count(*)
    FROM cancelled AS c
    GROUP BY c.drip_id, c.drip_step_id
)

SELECT
    (SELECT count(*) FROM due)::int AS due,
    (SELECT count(*) FROM enrolled)::int AS enrolled;

-- name: put_off
-- A date whose run the database refuses does not hold up the others.
UPDATE drip_dates AS k SET due_at = k.due_at + interval '1 hour'
FROM (
    SELECT
        t.drip_id,
        t.subscriber_id
    FROM drips AS d
    CROSS JOIN LATERAL (
        SELECT
            x.drip_id,
            x.subscriber_id
        FROM drip_dates AS x
        WHERE x.drip_id = d.id AND x.due_at <= $1
        ORDER BY x.due_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS t
    WHERE d.trigger = 'date' AND d.state = 'live'
    LIMIT 1
) AS head
WHERE k.drip_id = head.drip_id AND k.subscriber_id = head.subscriber_id;
