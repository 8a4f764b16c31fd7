-- name: overdue
-- How many runs have fallen behind; no more are counted than one asks for.
SELECT
    count(*)::int AS runs,
    min(k.next_run_at) AS oldest_due_at
FROM (
    SELECT e.next_run_at
    FROM drip_enrollments AS e
    WHERE e.drip_id = $1 AND e.state = 'active' AND e.next_run_at <= now()
    ORDER BY e.next_run_at
    LIMIT $2
) AS k;

-- name: resume
-- Let a paused drip go on, and tell in which state it was. If it skips, mails that were due before now are left out.
WITH found AS MATERIALIZED (
    SELECT
        d.id,
        d.state,
        d.catch_up
    FROM drips AS d
    WHERE d.id = $1 AND d.brand_id = $2
    FOR NO KEY UPDATE
),

resumed AS (
    UPDATE drips AS d SET
        state = 'live',
        skip_due_before = CASE WHEN f.catch_up = 'skip' THEN now() END
    FROM found AS f
    WHERE d.id = f.id AND f.state = 'paused'
)

SELECT f.state
FROM found AS f;
