-- name: enroll
-- Enrol those whose day has come, and write down their next one. Drips take turns, beginning behind one.
-- Tells which runs have to give way first; the dates that began them anew stay due until then.
WITH due AS MATERIALIZED (
    SELECT
        k.drip_id,
        k.subscriber_id
    FROM (
        SELECT d.id
        FROM drips AS d
        WHERE d.trigger = 'date' AND d.state = 'live' AND ($4::bigint IS NULL OR d.id = $4)
        ORDER BY (d.id <= $2), d.id
        -- The fence keeps the planner from sorting behind the join, where it would lock far more rows than it takes.
        OFFSET 0
    ) AS live
    CROSS JOIN LATERAL (
        SELECT
            t.drip_id,
            t.subscriber_id
        FROM drip_dates AS t
        WHERE t.drip_id = live.id AND t.due_at <= $1 AND ($5::bigint IS NULL OR t.subscriber_id = $5)
        ORDER BY t.due_at
        LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) AS k
    LIMIT $3
),

asked AS MATERIALIZED (
    SELECT
        due.drip_id,
        d.brand_id,
        due.subscriber_id,
        coalesce(runs.last_run, 0) AS last_run,
        runs.active_id,
        occasion.cause,
        CASE
            WHEN
                s.status = 'confirmed'
                AND first_step.delay IS NOT NULL
                AND occasion.due_at <= $1
                -- An edit may move its time to later on a day on which it has fired already.
                AND runs.began_by_it IS NOT TRUE
                THEN drip_entry(
                    -- A yearly occasion is a new one each year, if last year's run is over.
                    CASE WHEN d.trigger_yearly AND d.re_enroll = 'never' THEN 'after_end' ELSE d.re_enroll END,
                    runs.last_run,
                    runs.active_id
                )
        END AS entry,
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
            m.due_at,
            md5(
                concat_ws(
                    ' ', 'date', due.drip_id, due.subscriber_id,
                    to_char(m.due_at AT TIME ZONE drip_zone(d.zone, d.brand_id, s.custom_fields), 'YYYY-MM-DD')
                )
            )::uuid AS cause
        FROM (
            -- The plan may be older than the field, the zone or the drip, and who is more than a day late is left out.
            SELECT
                drip_date_due(
                    s.custom_fields ->> d.trigger_field,
                    d.trigger_days,
                    d.trigger_yearly,
                    d.trigger_time,
                    drip_zone(d.zone, d.brand_id, s.custom_fields),
                    $1 - interval '1 day'
                ) AS due_at
        ) AS m
    ) AS occasion
    CROSS JOIN LATERAL (
        SELECT
            max(k.run_no) AS last_run,
            max(k.id) FILTER (WHERE k.state = 'active') AS active_id,
            bool_or(k.cause = occasion.cause) AS began_by_it
        FROM drip_enrollments AS k
        WHERE k.drip_id = due.drip_id AND k.subscriber_id = due.subscriber_id
    ) AS runs
),

done AS MATERIALIZED (
    SELECT a.*
    FROM asked AS a
    WHERE a.entry IS DISTINCT FROM 'anew'
),

struck AS (
    DELETE FROM drip_dates AS k
    USING done AS a
    WHERE k.drip_id = a.drip_id AND k.subscriber_id = a.subscriber_id AND a.next_date IS NULL
),

planned AS (
    UPDATE drip_dates AS k SET due_at = a.next_date
    FROM done AS a
    WHERE k.drip_id = a.drip_id AND k.subscriber_id = a.subscriber_id AND a.next_date IS NOT NULL
),

enrolled AS (
    INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, run_no, cause, anchor_at, next_run_at, enrolled_at)
    SELECT
        a.drip_id,
        a.brand_id,
        a.subscriber_id,
        a.last_run + 1,
        a.cause,
        $1,
        a.next_run_at,
        $1
    FROM done AS a
    WHERE a.entry = 'begin'
    ORDER BY a.drip_id, a.subscriber_id
    ON CONFLICT DO NOTHING
    RETURNING drip_id
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT
        e.drip_id,
        'enrolled',
        count(*)
    FROM enrolled AS e
    GROUP BY e.drip_id
)

SELECT
    (SELECT count(*) FROM due)::int AS due,
    (SELECT count(*) FROM enrolled)::int AS enrolled,
    coalesce((SELECT k.drip_id FROM due AS k ORDER BY (k.drip_id <= $2) DESC, k.drip_id DESC LIMIT 1), $2)::bigint AS last_drip_id,
    ARRAY(SELECT a.active_id FROM asked AS a WHERE a.entry = 'anew' ORDER BY a.active_id) AS giving_way;

-- name: due
-- The dates that a claim would take, without taking them: for when a batch as a whole cannot be carried out.
SELECT
    k.drip_id,
    k.subscriber_id
FROM (
    SELECT d.id
    FROM drips AS d
    WHERE d.trigger = 'date' AND d.state = 'live'
    ORDER BY (d.id <= $2), d.id
    OFFSET 0
) AS live
CROSS JOIN LATERAL (
    SELECT
        t.drip_id,
        t.subscriber_id
    FROM drip_dates AS t
    WHERE t.drip_id = live.id AND t.due_at <= $1
    ORDER BY t.due_at
    LIMIT $3
) AS k
LIMIT $3;

-- name: put_off
-- A date whose run the database refuses does not hold up the others.
UPDATE drip_dates AS k SET due_at = $3::timestamptz + interval '1 hour'
WHERE k.drip_id = $1 AND k.subscriber_id = $2 AND k.due_at <= $3;
