-- name: advance
-- Take what is due, do it and move on: one statement, so a crash undoes it whole. Other schedulers skip the locked rows.
WITH
-- Drips with an hourly allowance are locked while it is spent, so that it is one for all schedulers (GCRA, a minute's burst).
paced AS MATERIALIZED (
    SELECT
        d.id,
        interval '1 hour' / d.max_per_hour AS per_run,
        greatest(
            d.paced_until, $1::timestamptz - greatest(interval '1 minute', interval '1 hour' / d.max_per_hour)
        ) AS used_until
    FROM drips AS d
    WHERE
        d.state = 'live'
        AND d.max_per_hour IS NOT NULL
        AND d.id % $9::int = $8::int
        AND ($6::bigint IS NULL OR d.id = $6)
        AND $1 >= coalesce(d.paced_until, '-infinity') + interval '1 hour' / d.max_per_hour
        AND EXISTS (
            SELECT FROM drip_enrollments AS k
            WHERE k.drip_id = d.id AND k.state = 'active' AND k.next_run_at <= $1
        )
    -- A few only, and those that have waited longest: whoever locks drips that he does not come to passes them by for all the
    -- other schedulers.
    ORDER BY d.paced_until NULLS FIRST, d.id
    LIMIT 20
    FOR NO KEY UPDATE SKIP LOCKED
),

due AS MATERIALIZED (
    SELECT
        e.id,
        e.drip_id,
        e.brand_id,
        e.subscriber_id,
        e.cursor_pos,
        e.next_run_at
    FROM (
        SELECT
            d.id,
            least(
                $3::bigint, floor(extract(EPOCH FROM $1 - p.used_until) / extract(EPOCH FROM p.per_run))::bigint
            ) AS most,
            coalesce(f.floor, '-infinity') AS floor
        FROM drips AS d
        LEFT JOIN paced AS p ON d.id = p.id
        -- Where this scheduler's last claim ended: dead entries before it are not walked over again.
        LEFT JOIN unnest($4::bigint [], $5::timestamptz []) AS f (drip_id, floor) ON d.id = f.drip_id
        WHERE
            d.state = 'live'
            AND (d.max_per_hour IS NULL OR p.id IS NOT NULL)
            AND d.id % $9::int = $8::int
            AND ($6::bigint IS NULL OR d.id = $6)
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
            k.cursor_pos,
            k.next_run_at
        FROM drip_enrollments AS k
        WHERE
            k.drip_id = live.id
            AND k.state = 'active'
            AND k.next_run_at <= $1
            AND k.next_run_at >= live.floor
            AND ($7::bigint IS NULL OR k.id = $7)
        ORDER BY k.next_run_at
        LIMIT live.most
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS e
    LIMIT $3
),

-- LATERAL with a LIMIT stays an index look-up per row: a plan that is made once for any size of batch
-- would rather read the whole table.
stepped AS MATERIALIZED (
    SELECT
        due.*,
        d.evergreen,
        d.zone,
        d.window_start,
        d.window_end,
        d.window_days,
        -- Mails that fell into the pause of a drip that skips are left out, and the others keep their dates.
        coalesce(due.next_run_at < d.skip_due_before, false) AS overdue,
        s.status AS subscriber_status,
        CASE WHEN d.zone = 'subscriber' THEN s.custom_fields END AS custom_fields,
        step.id AS step_id,
        step.position AS step_pos,
        step.kind,
        step.topic_id,
        step.params,
        CASE
            WHEN step.kind = 'condition' AND s.status = 'confirmed' THEN (
                SELECT drip_condition_holds(step.params -> 'if', k, due.id) FROM subscribers AS k WHERE k.id = due.subscriber_id
            )
        END AS holds,
        -- Due, but late: after a pause, an outage or a spent allowance the window may be closed by now.
        CASE
            WHEN
                step.kind = 'send'
                AND d.window_start IS NOT NULL
                AND s.status = 'confirmed'
                AND NOT coalesce(due.next_run_at < d.skip_due_before, false)
                THEN nullif(
                    next_in_window(
                        $1,
                        drip_zone(d.zone, d.brand_id, s.custom_fields),
                        d.window_start,
                        d.window_end,
                        d.window_days
                    ),
                    $1
                )
        END AS held_until
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
            t.id,
            t.position,
            t.kind,
            t.topic_id,
            t.params
        FROM drip_steps AS t
        WHERE t.drip_id = due.drip_id AND t.position > due.cursor_pos AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS step ON true
),

-- A subscriber whose row somebody else holds, or who has two such steps in this batch, takes the second one next time.
retaggable AS MATERIALIZED (
    SELECT DISTINCT ON (p.subscriber_id) p.id
    FROM stepped AS p
    CROSS JOIN LATERAL (
        SELECT k.id
        FROM subscribers AS k
        WHERE k.id = p.subscriber_id
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS held
    WHERE p.kind IN ('add_topic', 'remove_topic')
    ORDER BY p.subscriber_id, p.id
),

branched AS MATERIALIZED (
    SELECT
        p.*,
        coalesce(p.subscriber_status = 'confirmed' AND p.step_id IS NOT NULL AND p.held_until IS NULL, false) AS acts,
        coalesce(p.overdue AND p.kind IN ('send', 'webhook'), false) AS skips,
        coalesce(p.kind = 'exit' OR (p.kind = 'condition' AND NOT p.holds AND p.params -> 'otherwise' = '"exit"'), false)
            AS exits,
        CASE
            WHEN p.kind = 'condition'
                THEN drip_cursor_behind(p.step_pos, p.params -> CASE WHEN p.holds THEN 'then' ELSE 'otherwise' END)
            ELSE p.step_pos
        END AS cursor_behind,
        CASE WHEN p.overdue THEN p.next_run_at ELSE $1 END AS ran_at
    FROM stepped AS p
    WHERE
        CASE
            WHEN p.kind IN ('add_topic', 'remove_topic') AND p.subscriber_status = 'confirmed'
                THEN p.id IN (SELECT r.id FROM retaggable AS r)
            -- A run that somebody has moved on since this statement began: what he did before, such as a topic, is not seen
            -- here, while the run's row is the newest. The next batch sees both.
            WHEN p.kind IN ('condition', 'webhook')
                THEN (SELECT k.cursor_pos FROM drip_enrollments AS k WHERE k.id = p.id) = p.cursor_pos
            ELSE true
        END
),

plan AS MATERIALIZED (
    SELECT
        b.*,
        later.id AS later_id,
        CASE
            WHEN later.id IS NOT NULL
                THEN
                    drip_due_at(
                        b.ran_at, later.delay, later.kind, later.params,
                        b.zone, b.brand_id, b.custom_fields, b.window_start, b.window_end, b.window_days
                    )
        END AS later_at
    FROM branched AS b
    LEFT JOIN LATERAL (
        SELECT
            t.id,
            t.delay,
            t.kind,
            t.params
        FROM drip_steps AS t
        WHERE t.drip_id = b.drip_id AND t.position > b.cursor_behind AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS later ON true
),

queued AS (
    INSERT INTO messages (
        brand_id, subscriber_id, kind, lane, drip_id, drip_step_id, enrollment_id, dedupe_key, not_before, created_at
    )
    SELECT
        p.brand_id,
        p.subscriber_id,
        'drip',
        p.drip_id,
        p.drip_id,
        p.step_id,
        p.id,
        'drip:' || p.id || ':' || p.step_id,
        $1,
        $1
    FROM plan AS p
    WHERE p.acts AND p.kind = 'send' AND NOT p.skips
    ON CONFLICT DO NOTHING
    RETURNING id, brand_id
),

retagged AS (
    UPDATE subscribers AS s SET
        topic_ids = CASE
            WHEN p.kind = 'remove_topic' THEN array_remove(s.topic_ids, p.topic_id)
            ELSE ARRAY(SELECT x.topic_id FROM unnest(s.topic_ids || p.topic_id) AS x (topic_id) ORDER BY x.topic_id)
        END,
        version = s.version + 1,
        updated_at = $1
    FROM plan AS p
    WHERE
        s.id = p.subscriber_id
        AND s.id = ANY(ARRAY(SELECT k.subscriber_id FROM plan AS k WHERE k.acts AND k.kind IN ('add_topic', 'remove_topic')))
        AND p.acts
        AND p.kind IN ('add_topic', 'remove_topic')
        AND (p.kind = 'add_topic') <> (p.topic_id = ANY(s.topic_ids))
    RETURNING s.id, s.brand_id, s AS subscriber, CASE WHEN p.kind = 'remove_topic' THEN ARRAY[p.topic_id] ELSE '{}' END AS removed
),

advanced AS (
    UPDATE drip_enrollments AS e SET
        cursor_pos = CASE WHEN p.acts THEN p.cursor_behind ELSE e.cursor_pos END,
        anchor_at = CASE WHEN p.held_until IS NULL THEN p.ran_at ELSE e.anchor_at END,
        state = CASE
            WHEN p.subscriber_status = 'pending' OR p.held_until IS NOT NULL THEN 'active'
            WHEN p.subscriber_status IS DISTINCT FROM 'confirmed' OR p.exits THEN 'exited'
            WHEN p.later_id IS NOT NULL OR p.evergreen THEN 'active'
            ELSE 'completed'
        END,
        exit_reason = CASE
            WHEN p.subscriber_status = 'confirmed' AND p.kind = 'exit' THEN coalesce(p.params ->> 'reason', 'exit_step')
            WHEN p.subscriber_status = 'confirmed' AND p.exits THEN 'condition'
            WHEN p.subscriber_status IN ('pending', 'confirmed') THEN NULL
            ELSE coalesce(p.subscriber_status, 'deleted')
        END,
        next_run_at = CASE
            WHEN p.held_until IS NOT NULL THEN p.held_until
            WHEN p.subscriber_status = 'confirmed' AND NOT p.exits THEN p.later_at
        END,
        ended_at = CASE
            WHEN p.subscriber_status = 'pending' OR p.held_until IS NOT NULL THEN NULL
            WHEN p.subscriber_status IS DISTINCT FROM 'confirmed' OR p.exits THEN $1
            WHEN p.later_id IS NOT NULL OR p.evergreen THEN NULL
            ELSE $1
        END,
        attempts = 0,
        error = NULL
    FROM plan AS p
    WHERE e.id = p.id
    RETURNING e.drip_id, e.state
),

-- Only mails count: whatever else a drip does, and what it leaves out, is free.
spent AS (
    UPDATE drips AS d SET paced_until = p.used_until + p.per_run * t.taken
    FROM paced AS p
    INNER JOIN (
        SELECT
            k.drip_id,
            count(*) AS taken
        FROM plan AS k
        WHERE k.acts AND k.kind = 'send' AND NOT k.skips
        GROUP BY k.drip_id
    ) AS t ON p.id = t.drip_id
    WHERE d.id = p.id
),

noted AS (
    INSERT INTO drip_run_events (enrollment_id, drip_id, step_id, kind, detail, at)
    SELECT
        p.id,
        p.drip_id,
        p.step_id,
        CASE WHEN p.skips THEN 'skipped' ELSE p.kind END,
        CASE
            WHEN p.skips THEN jsonb_build_object('due_at', p.next_run_at)
            WHEN p.kind = 'condition' THEN jsonb_build_object('holds', p.holds)
            WHEN p.topic_id IS NOT NULL THEN jsonb_build_object('topic_id', p.topic_id)
            ELSE '{}'
        END,
        $1
    FROM plan AS p
    WHERE p.acts AND (p.skips OR p.kind NOT IN ('send', 'delay', 'wait_until'))
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, step_id, what, n)
    SELECT p.drip_id, p.step_id, CASE WHEN p.skips THEN 'skipped' ELSE 'ran' END, count(*)
    FROM plan AS p
    WHERE p.acts
    GROUP BY p.drip_id, p.step_id, p.skips
    UNION ALL
    SELECT a.drip_id, 0, a.state, count(*)
    FROM advanced AS a
    WHERE a.state <> 'active'
    GROUP BY a.drip_id, a.state
),

told AS (
    INSERT INTO outbox (event_id, type, brand_id, data)
    -- One event for the batch and brand: it only says that there is work.
    SELECT
        event_id('message', min(q.id), 1),
        'message.queued',
        q.brand_id,
        jsonb_build_object('count', count(*))
    FROM queued AS q
    GROUP BY q.brand_id
    UNION ALL
    SELECT
        event_id('subscriber', r.id, (r.subscriber).version),
        'subscriber.updated',
        r.brand_id,
        jsonb_build_object(
            'brand_slug', b.slug,
            'subscriber', subscriber_facts(r.subscriber),
            -- Only a signup starts drips (Mailement document, section 7).
            'signup_topic_ids', '[]'::jsonb,
            'removed_topic_ids', to_jsonb(r.removed)
        )
    FROM retagged AS r
    INNER JOIN brands AS b ON r.brand_id = b.id
    UNION ALL
    SELECT
        event_id('drip_webhook:' || p.step_id, p.id, 1),
        'drip.webhook',
        p.brand_id,
        jsonb_build_object(
            'brand_slug', b.slug,
            'subscriber', subscriber_facts(k),
            'drip', jsonb_build_object('id', p.drip_id, 'step_id', p.step_id, 'run_id', p.id, 'name', p.params ->> 'name')
        )
    FROM plan AS p
    INNER JOIN brands AS b ON p.brand_id = b.id
    CROSS JOIN LATERAL (SELECT s.* FROM subscribers AS s WHERE s.id = p.subscriber_id LIMIT 1) AS k
    WHERE p.acts AND p.kind = 'webhook' AND NOT p.skips
)

SELECT
    (SELECT count(*) FROM plan)::int AS due,
    (SELECT count(*) FROM queued)::int AS queued,
    -- Of a batch that went once around, the last one is among the first.
    coalesce(max(t.drip_id) FILTER (WHERE t.drip_id <= $2), max(t.drip_id), 0)::bigint AS last_drip_id,
    coalesce(array_agg(t.drip_id), '{}') AS drip_ids,
    coalesce(array_agg(t.taken), '{}') AS taken,
    coalesce(array_agg(t.reached), '{}') AS reached
FROM (
    SELECT
        k.drip_id,
        count(*)::int AS taken,
        -- What was left for the next batch must stay in its reach.
        coalesce(min(k.next_run_at) FILTER (WHERE k.id NOT IN (SELECT b.id FROM branched AS b)), max(k.next_run_at)) AS reached
    FROM due AS k
    GROUP BY k.drip_id
) AS t;

-- name: due_drips
-- Drips that have something due, in turn: for when a batch as a whole cannot be carried out.
SELECT d.id
FROM drips AS d
WHERE
    d.state = 'live'
    AND d.id % $5::int = $4::int
    AND (d.max_per_hour IS NULL OR $1::timestamptz >= coalesce(d.paced_until, '-infinity') + interval '1 hour' / d.max_per_hour)
    AND EXISTS (
        SELECT FROM drip_enrollments AS k
        WHERE k.drip_id = d.id AND k.state = 'active' AND k.next_run_at <= $1
    )
ORDER BY (d.id <= $2), d.id
LIMIT $3;

-- name: due_runs
-- The runs of one drip that a claim would take, without taking them.
SELECT k.id
FROM drip_enrollments AS k
WHERE k.drip_id = $1 AND k.state = 'active' AND k.next_run_at <= $2
ORDER BY k.next_run_at
LIMIT $3;

-- name: postpone
-- A step that could not be carried out: again later, or after too many tries shown as failed. The place is kept.
WITH tried AS (
    UPDATE drip_enrollments AS e SET
        attempts = e.attempts + 1,
        error = $3,
        state = CASE WHEN e.attempts + 1 >= $4 THEN 'failed' ELSE 'active' END,
        next_run_at = CASE WHEN e.attempts + 1 < $4 THEN $2::timestamptz + interval '1 minute' * (2 ^ least(e.attempts, 10)) END,
        ended_at = CASE WHEN e.attempts + 1 >= $4 THEN $2::timestamptz END
    WHERE e.id = $1 AND e.state = 'active' AND e.next_run_at <= $2
    RETURNING e.id, e.drip_id, e.state, e.attempts
),

noted AS (
    INSERT INTO drip_run_events (enrollment_id, drip_id, kind, detail, at)
    SELECT t.id, t.drip_id, 'attempt_failed', jsonb_build_object('attempt', t.attempts, 'error', $3::text), $2
    FROM tried AS t
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT t.drip_id, 'failed', 1 FROM tried AS t WHERE t.state = 'failed'
)

SELECT
    t.drip_id,
    t.state
FROM tried AS t;

-- name: next_due
-- When the next step is due, over all live drips; three pages for each of them.
SELECT
    min(
        greatest(first_due.next_run_at, CASE WHEN d.max_per_hour IS NOT NULL THEN d.paced_until + interval '1 hour' / d.max_per_hour END)
    ) AS next_run_at
FROM drips AS d
LEFT JOIN unnest($1::bigint [], $2::timestamptz []) AS f (drip_id, floor) ON d.id = f.drip_id
CROSS JOIN LATERAL (
    SELECT k.next_run_at
    FROM drip_enrollments AS k
    WHERE
        k.drip_id = d.id
        AND k.state = 'active'
        AND k.next_run_at IS NOT NULL
        AND k.next_run_at >= coalesce(f.floor, '-infinity')
    ORDER BY k.next_run_at
    LIMIT 1
) AS first_due
WHERE d.state = 'live' AND d.id % $4::int = $3::int;
