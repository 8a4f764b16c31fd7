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

-- name: lock
-- In which state a drip is, and it stays so until the transaction ends.
SELECT d.state
FROM drips AS d
WHERE d.id = $1 AND d.brand_id = $2
FOR NO KEY UPDATE;

-- name: is_respaced
-- Whether runs are still being moved along with their steps.
SELECT EXISTS (SELECT FROM drip_jobs AS j WHERE j.drip_id = $1 AND j.kind = 'respace');

-- name: resume
-- Let a paused drip go on. If it skips, mails that were due before now are left out.
UPDATE drips AS d SET
    state = 'live',
    skip_due_before = CASE WHEN d.catch_up = 'skip' THEN now() END
WHERE d.id = $1 AND d.state = 'paused';
