-- name: zone
-- The zone in which a drip reckons for somebody with these fields.
SELECT drip_zone($1, $2::bigint, $3::jsonb);

-- name: topics
-- Topics by slug.
SELECT t.id
FROM topics AS t
WHERE t.brand_id = $1 AND t.slug = ANY($2::text [])
ORDER BY t.id;

-- name: start
-- Where somebody stands in a drip; and when its date trigger would begin for them, if they are not in it.
WITH who AS (
    SELECT s.id
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.email_key = $3
    UNION ALL
    SELECT s.id
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.id = $4
)

SELECT
    s.id AS subscriber_id,
    s.status,
    z.timezone,
    e.id AS run_id,
    e.cursor_pos,
    e.anchor_at,
    e.next_run_at,
    (SELECT max(k.run_no) FROM drip_enrollments AS k WHERE k.drip_id = d.id AND k.subscriber_id = s.id) AS last_run,
    CASE
        WHEN d.trigger = 'date'
            THEN
                drip_date_due(
                    s.custom_fields ->> d.trigger_field, d.trigger_days, d.trigger_yearly, d.trigger_time, z.timezone, $5
                )
    END AS begins_at
FROM who AS w
INNER JOIN subscribers AS s ON w.id = s.id
INNER JOIN drips AS d ON d.id = $2
CROSS JOIN LATERAL (SELECT drip_zone(d.zone, d.brand_id, s.custom_fields) AS timezone) AS z
LEFT JOIN drip_enrollments AS e ON s.id = e.subscriber_id AND d.id = e.drip_id AND e.state = 'active';

-- name: walk
-- Step after step as `advance` in advance_drips.sql takes them, each at the moment that it is due; nothing is written.
WITH RECURSIVE
drip AS MATERIALIZED (
    SELECT
        d.id,
        d.brand_id,
        d.zone,
        d.window_start,
        d.window_end,
        d.window_days,
        d.exit_topic_ids
    FROM drips AS d
    WHERE d.brand_id = $1 AND d.id = $2
),

way AS (
    SELECT
        0 AS n,
        NULL::bigint AS step_id,
        NULL::text AS kind,
        NULL::timestamptz AS plain_at,
        $7::timestamptz AS ran_at,
        false AS skips,
        NULL::boolean AS holds,
        NULL::text AS end_reason,
        $6::int AS cursor_pos,
        CASE
            WHEN $3::bigint IS NULL THEN jsonb_populate_record(NULL::subscribers, $4::jsonb)
            ELSE (SELECT s FROM subscribers AS s WHERE s.brand_id = $1 AND s.id = $3)
        END AS person,
        $8::timestamptz AS scheduled_at
    UNION ALL
    SELECT
        w.n + 1,
        t.id,
        t.kind,
        w.ran_at + t.delay,
        r.ran_at,
        r.skips,
        r.holds,
        r.end_reason,
        CASE
            WHEN t.kind = 'condition'
                THEN drip_cursor_behind(t.position, t.params -> CASE WHEN r.holds THEN 'then' ELSE 'otherwise' END)
            ELSE t.position
        END,
        CASE
            WHEN t.kind IN ('add_topic', 'remove_topic')
                THEN
                    jsonb_populate_record(
                        w.person,
                        jsonb_build_object(
                            'topic_ids',
                            CASE
                                WHEN t.kind = 'remove_topic' THEN array_remove((w.person).topic_ids, t.topic_id)
                                ELSE array_remove((w.person).topic_ids, t.topic_id) || t.topic_id
                            END
                        )
                    )
            ELSE w.person
        END,
        NULL::timestamptz
    FROM way AS w
    CROSS JOIN drip AS d
    CROSS JOIN LATERAL (
        SELECT
            k.id,
            k.position,
            k.delay,
            k.kind,
            k.topic_id,
            k.params
        FROM drip_steps AS k
        WHERE k.drip_id = d.id AND k.position > w.cursor_pos AND k.deleted_at IS NULL
        ORDER BY k.position
        LIMIT 1
    ) AS t
    CROSS JOIN LATERAL (
        SELECT
            coalesce(
                w.scheduled_at,
                drip_due_at(
                    w.ran_at, t.delay, t.kind, t.params,
                    d.zone, d.brand_id, (w.person).custom_fields, d.window_start, d.window_end, d.window_days
                )
            ) AS at,
            CASE WHEN t.kind = 'condition' THEN drip_condition_holds(t.params -> 'if', w.person, coalesce($5::bigint, 0)) END AS holds
    ) AS due
    CROSS JOIN LATERAL (
        SELECT
            due.holds,
            CASE
                WHEN due.at < $9::timestamptz THEN due.at
                -- A mail that is late waits until the window is open again.
                WHEN t.kind = 'send' AND d.window_start IS NOT NULL
                    THEN
                        next_in_window(
                            greatest(due.at, $10::timestamptz),
                            drip_zone(d.zone, d.brand_id, (w.person).custom_fields),
                            d.window_start,
                            d.window_end,
                            d.window_days
                        )
                ELSE greatest(due.at, $10::timestamptz)
            END AS ran_at,
            coalesce(due.at < $9::timestamptz AND t.kind IN ('send', 'webhook'), false) AS skips,
            CASE
                WHEN t.kind = 'exit' THEN coalesce(t.params ->> 'reason', 'exit_step')
                WHEN t.kind = 'condition' AND NOT due.holds AND t.params -> 'otherwise' = '"exit"' THEN 'condition'
                WHEN t.kind = 'remove_topic' AND t.topic_id = ANY(d.exit_topic_ids) AND t.topic_id = ANY((w.person).topic_ids)
                    THEN 'topic_removed'
            END AS end_reason
    ) AS r
    WHERE w.end_reason IS NULL
)

SELECT
    w.step_id,
    w.kind,
    w.plain_at,
    w.ran_at,
    w.ran_at AT TIME ZONE drip_zone(d.zone, d.brand_id, (w.person).custom_fields) AS local,
    w.skips,
    w.holds,
    w.end_reason
FROM way AS w
CROSS JOIN drip AS d
WHERE w.n > 0
ORDER BY w.n;
