-- name: enroll_triggered
-- Enrol subscribers in the drips that an event starts, as often as each drip's policy allows; a copy of the event starts nothing.
-- Tells which runs have to give way first, where it is there that the policy begins anew.
WITH asked AS MATERIALIZED (
    SELECT DISTINCT ON (d.id, s.id)
        d.id AS drip_id,
        d.brand_id,
        s.id AS subscriber_id,
        e.cause,
        e.happened_at,
        coalesce(runs.last_run, 0) AS last_run,
        runs.active_id,
        runs.entry,
        CASE
            WHEN s.status = 'confirmed' THEN drip_due_at(
                now(), first_step.delay, first_step.kind, first_step.params,
                d.zone, d.brand_id, s.custom_fields, d.window_start, d.window_end, d.window_days
            )
        END AS next_run_at
    FROM jsonb_to_recordset($1) AS e (
        brand_id bigint, subscriber_id bigint, cause uuid, happened_at timestamptz, confirmed boolean, topic_ids bigint [], event text
    )
    INNER JOIN drips AS d
        ON
            e.brand_id = d.brand_id
            AND d.state IN ('live', 'paused')
            AND (
                (d.trigger = 'subscriber_confirmed' AND e.confirmed)
                OR (d.trigger = 'topic_added' AND d.trigger_topic_id = ANY(e.topic_ids))
                OR (d.trigger = 'event' AND d.trigger_event = e.event)
            )
    CROSS JOIN LATERAL (
        SELECT
            k.id,
            k.status,
            k.custom_fields
        FROM subscribers AS k
        WHERE
            k.id = e.subscriber_id
            AND (k.status = 'confirmed' OR (k.status = 'pending' AND e.event IS NOT NULL))
            -- What was true of the event may have changed since.
            AND (d.trigger <> 'topic_added' OR d.trigger_topic_id = ANY(k.topic_ids))
        LIMIT 1
        -- Whoever leaves or confirms at this moment comes before or behind, and then sees the run.
        FOR SHARE
    ) AS s
    INNER JOIN LATERAL (
        SELECT
            t.delay,
            t.kind,
            t.params
        FROM drip_steps AS t
        WHERE t.drip_id = d.id AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS first_step ON true
    CROSS JOIN LATERAL (
        SELECT
            max(k.run_no) AS last_run,
            max(k.id) FILTER (WHERE k.state = 'active') AS active_id,
            drip_entry(d.re_enroll, max(k.run_no), max(k.id) FILTER (WHERE k.state = 'active')) AS entry,
            bool_or(
                k.cause = e.cause
                -- It came during a run that did not give way, or before it, and this is its copy. Not so at the moment of the
                -- end: the event itself may be the goal of one run and begin the next.
                OR (d.re_enroll = 'after_end' AND e.happened_at < coalesce(k.farewell_at, k.ended_at))
            ) AS told_before
        FROM drip_enrollments AS k
        WHERE k.drip_id = d.id AND k.subscriber_id = s.id
    ) AS runs
    WHERE runs.entry IS NOT NULL AND runs.told_before IS NOT TRUE
    ORDER BY d.id, s.id
),

enrolled AS (
    INSERT INTO drip_enrollments (
        drip_id, brand_id, subscriber_id, run_no, cause, caused_at, anchor_at, next_run_at, enrolled_at
    )
    SELECT
        a.drip_id,
        a.brand_id,
        a.subscriber_id,
        a.last_run + 1,
        a.cause,
        a.happened_at,
        now(),
        a.next_run_at,
        now()
    FROM asked AS a
    WHERE a.entry = 'begin'
    ORDER BY a.drip_id, a.subscriber_id
    ON CONFLICT DO NOTHING
    RETURNING drip_id
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT e.drip_id, 'enrolled', count(*)
    FROM enrolled AS e
    GROUP BY e.drip_id
)

SELECT
    (SELECT count(*) FROM enrolled)::int AS enrolled,
    ARRAY(SELECT a.active_id FROM asked AS a WHERE a.entry = 'anew' ORDER BY a.active_id) AS giving_way;

-- name: release_waiting
-- Start the clock of runs that waited for their subscriber's confirmation.
UPDATE drip_enrollments AS e SET
    anchor_at = now(),
    next_run_at = (
        SELECT
            drip_due_at(
                now(), t.delay, t.kind, t.params,
                d.zone, d.brand_id, s.custom_fields, d.window_start, d.window_end, d.window_days
            )
        FROM drip_steps AS t
        INNER JOIN drips AS d ON t.drip_id = d.id
        INNER JOIN subscribers AS s ON s.id = e.subscriber_id
        WHERE t.drip_id = e.drip_id AND t.deleted_at IS NULL AND t.position > e.cursor_pos
        ORDER BY t.position
        LIMIT 1
    )
WHERE
    e.subscriber_id = ANY($1::bigint [])
    AND e.state = 'active'
    AND e.next_run_at IS NULL
    -- Not a join: a plan that was made on empty tables would begin with all subscribers.
    AND (SELECT s.status FROM subscribers AS s WHERE s.id = e.subscriber_id) = 'confirmed'
    -- Who has come to the end of an evergreen drip keeps the moment from which a new step's delay counts.
    AND NOT (e.cursor_pos > 0 AND (SELECT d.evergreen FROM drips AS d WHERE d.id = e.drip_id));
