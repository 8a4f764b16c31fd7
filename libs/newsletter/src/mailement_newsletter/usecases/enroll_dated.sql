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
        CASE
            WHEN d.trigger_yearly AND s.status = 'confirmed' THEN drip_date_due(
                s.custom_fields ->> d.trigger_field,
                d.trigger_days,
                true,
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
    RETURNING e.drip_id
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
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT e.drip_id, 'enrolled', count(*)
    FROM enrolled AS e
    GROUP BY e.drip_id
    UNION ALL
    SELECT r.drip_id, 'cancelled', count(*)
    FROM restarted AS r
    GROUP BY r.drip_id
)

SELECT
    (SELECT count(*) FROM due)::int AS due,
    (SELECT count(*) FROM enrolled)::int AS enrolled;
