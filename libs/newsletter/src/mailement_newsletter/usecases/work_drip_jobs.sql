-- name: take
-- The job whose turn it is, of those that nobody works on; it is ours until the transaction ends.
SELECT
    j.id,
    j.drip_id,
    j.kind,
    j.after_id,
    j.pass,
    j.params,
    EXISTS (SELECT FROM drips AS d WHERE d.id = j.drip_id AND d.state = 'archived') AS is_archived
FROM drip_jobs AS j
WHERE
    j.not_before <= now()
    AND NOT EXISTS (
        SELECT FROM drip_jobs AS k
        WHERE
            k.drip_id = j.drip_id
            AND (
                -- These clear the way for what an edit asks for behind them.
                (k.kind IN ('forget_dates', 'respace') AND k.id < j.id)
                -- Some runs stand by the old positions and some by the new: nobody's step can be told, whoever asked first.
                OR (k.kind = 'respace' AND j.kind = 'retime')
            )
    )
-- Slice by slice in turn, so that the ten million runs of one brand do not hold up the ten of another.
ORDER BY j.worked_at, j.id
LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: move_on
-- How far a job has come.
UPDATE drip_jobs SET
    after_id = $2,
    worked_at = clock_timestamp()
WHERE id = $1;

-- name: finish
-- A job that has come to its end.
DELETE FROM drip_jobs WHERE id = $1;

-- name: pass_again
-- Once more from the beginning, when every statement that may have seen what was before the edit has ended.
-- The scheduler may have been in the middle of a batch, and its runs were passed by. Statements are cut off at 30 seconds.
UPDATE drip_jobs SET
    after_id = 0,
    pass = pass + 1,
    worked_at = clock_timestamp(),
    not_before = now() + interval '35 seconds'
WHERE id = $1;

-- name: put_off
-- A job that the database refuses: later, and in the end never again, but to be seen. The others go on.
-- What others wait for is tried every hour, or its drip would never come loose.
UPDATE drip_jobs SET
    attempts = attempts + 1,
    error = $2,
    worked_at = clock_timestamp(),
    not_before = CASE
        WHEN kind IN ('forget_dates', 'respace')
            THEN clock_timestamp() + least(interval '1 hour', interval '1 minute' * (2 ^ least(attempts, 6)))
        WHEN attempts >= 9 THEN 'infinity'
        ELSE clock_timestamp() + interval '1 minute' * (2 ^ attempts)
    END
WHERE id = $1;

-- name: take_time
-- Counting very many runs takes longer than other statements may.
SELECT set_config('statement_timeout', $1, true);

-- name: recount
-- Count a drip's runs by looking. In one statement: what others count meanwhile is neither deleted nor seen.
-- The steps' own numbers stay: nothing finds a drip's mails without reading everybody's.
WITH old AS (
    DELETE FROM drip_tallies AS t WHERE t.drip_id = $1 AND t.step_id = 0
)

INSERT INTO drip_tallies (drip_id, what, n)
SELECT
    $1,
    w.what,
    count(*)
FROM drip_enrollments AS e
CROSS JOIN LATERAL unnest(ARRAY['enrolled', e.state]) AS w (what)
WHERE e.drip_id = $1 AND w.what <> 'active'
GROUP BY w.what;

-- name: retime
-- After an edit: reckon anew when the next step of each active run is due. In slices, in order of the subscribers.
WITH slice AS MATERIALIZED (
    SELECT
        e.id,
        e.subscriber_id,
        e.state,
        e.cursor_pos,
        e.anchor_at
    FROM drip_enrollments AS e
    WHERE e.drip_id = $1 AND e.subscriber_id > $2
    ORDER BY e.subscriber_id
    -- All runs of the last subscriber, or the next slice would begin in the middle of them.
    FETCH FIRST ($3::int) ROWS WITH TIES
),

reckoned AS MATERIALIZED (
    SELECT
        s.id,
        s.cursor_pos,
        s.anchor_at,
        step.id AS step_id,
        d.evergreen,
        CASE
            WHEN step.id IS NOT NULL
                THEN
                    drip_due_at(
                        s.anchor_at, step.delay, step.kind, step.params,
                        d.zone, d.brand_id, k.custom_fields, d.window_start, d.window_end, d.window_days
                    )
        END AS due_at
    FROM slice AS s
    INNER JOIN drips AS d ON d.id = $1
    CROSS JOIN LATERAL (
        SELECT p.custom_fields
        FROM subscribers AS p
        WHERE p.id = s.subscriber_id AND p.status = 'confirmed'
        LIMIT 1
    ) AS k
    LEFT JOIN LATERAL (
        SELECT
            t.id,
            t.delay,
            t.kind,
            t.params
        FROM drip_steps AS t
        WHERE t.drip_id = $1 AND t.position > s.cursor_pos AND t.deleted_at IS NULL
        ORDER BY t.position
        LIMIT 1
    ) AS step ON true
    WHERE s.state = 'active'
),

retimed AS (
    -- The scheduler looks once more at whom this makes due: the window may be closed, or the last steps deleted.
    UPDATE drip_enrollments AS e SET next_run_at = drip_moved_to(e.next_run_at, r.due_at, $4::timestamptz)
    FROM reckoned AS r
    WHERE
        e.id = r.id
        AND e.id = ANY(ARRAY(SELECT x.id FROM reckoned AS x))
        AND e.state = 'active'
        -- A retry keeps its pause.
        AND e.attempts = 0
        -- Still where it was reckoned from: the scheduler may have moved it on.
        AND e.cursor_pos = r.cursor_pos
        AND e.anchor_at = r.anchor_at
        AND e.next_run_at IS DISTINCT FROM drip_moved_to(e.next_run_at, r.due_at, $4::timestamptz)
        -- Waits at the end of an evergreen drip; of one that is none any more it is completed.
        AND NOT (e.next_run_at IS NULL AND r.step_id IS NULL AND r.evergreen)
        -- Waits for its subscriber's confirmation, which the scheduler is about to hear of.
        AND NOT (e.next_run_at IS NULL AND e.cursor_pos = 0)
    RETURNING e.id
)

SELECT
    count(*)::int AS seen,
    max(s.subscriber_id) AS reached,
    (SELECT count(*) FROM retimed)::int AS retimed
FROM slice AS s;

-- name: respace
-- After the steps of a paused drip got new positions: each run stands between the same two as before, and as close to them.
-- Those that have ended too: a failed one may go on, and of all it is told which steps they had.
WITH mapping AS MATERIALIZED (
    SELECT
        m.old,
        m.new
    FROM unnest($4::int [], $5::int []) AS m (old, new)
),

slice AS MATERIALIZED (
    SELECT
        e.id,
        e.subscriber_id
    FROM drip_enrollments AS e
    WHERE e.drip_id = $1 AND e.subscriber_id > $2
    ORDER BY e.subscriber_id
    FETCH FIRST ($3::int) ROWS WITH TIES
),

moved AS (
    UPDATE drip_enrollments AS e SET
        cursor_pos = coalesce(
            (SELECT m.new FROM mapping AS m WHERE m.old = e.cursor_pos),
            (SELECT m.new - 1 FROM mapping AS m WHERE m.old > e.cursor_pos ORDER BY m.old LIMIT 1),
            (SELECT max(m.new) FROM mapping AS m)
        )
    WHERE e.id = ANY(ARRAY(SELECT s.id FROM slice AS s)) AND e.cursor_pos > 0
)

SELECT
    count(*)::int AS seen,
    max(s.subscriber_id) AS reached
FROM slice AS s;

-- name: forget_dates
-- A slice of what a date trigger had planned that is none any more.
WITH slice AS MATERIALIZED (
    SELECT t.subscriber_id
    FROM drip_dates AS t
    WHERE t.drip_id = $1 AND t.subscriber_id > $2
    ORDER BY t.subscriber_id
    LIMIT $3
),

forgotten AS (
    DELETE FROM drip_dates AS t
    WHERE t.drip_id = $1 AND t.subscriber_id = ANY(ARRAY(SELECT s.subscriber_id FROM slice AS s))
)

SELECT
    count(*)::int AS seen,
    max(s.subscriber_id) AS reached
FROM slice AS s;

-- name: slice_of_brand
-- A slice of a brand's subscribers, for a date trigger that is new to them.
SELECT s.id
FROM subscribers AS s
WHERE s.brand_id = (SELECT d.brand_id FROM drips AS d WHERE d.id = $1) AND s.id > $2
ORDER BY s.id
LIMIT $3;
