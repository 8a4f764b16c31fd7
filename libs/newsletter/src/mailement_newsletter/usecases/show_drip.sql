-- name: counts
-- All that is counted of a drip and its steps.
SELECT
    t.step_id,
    t.what,
    sum(t.n)::bigint AS n
FROM drip_tallies AS t
WHERE t.drip_id = $1
GROUP BY t.step_id, t.what;

-- name: waiting
-- How many runs wait before each step; so many are looked at, those that are due first. Place 0 is the first step.
SELECT
    coalesce(array_agg(w.place), '{}') AS places,
    coalesce(array_agg(w.runs), '{}') AS runs
FROM (
    SELECT
        width_bucket(k.cursor_pos, $2::int []) AS place,
        count(*)::int AS runs
    FROM (
        SELECT e.cursor_pos
        FROM drip_enrollments AS e
        WHERE e.drip_id = $1 AND e.state = 'active' AND e.next_run_at IS NOT NULL
        ORDER BY e.next_run_at
        LIMIT $3
    ) AS k
    WHERE cardinality($2) > 0
    GROUP BY width_bucket(k.cursor_pos, $2::int [])
) AS w;

-- name: work
-- What the scheduler has still to do for all runs or subscribers of a drip, in the order in which it was asked for.
SELECT
    j.kind,
    j.attempts,
    j.error
FROM drip_jobs AS j
WHERE j.drip_id = $1
ORDER BY j.id;
