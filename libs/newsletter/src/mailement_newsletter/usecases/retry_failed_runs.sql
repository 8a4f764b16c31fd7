-- name: retry
-- Let failed runs go on, of each subscriber one at most, and none beside a run that is active. Behind a place in the drip's runs.
WITH failed AS MATERIALIZED (
    SELECT
        e.id,
        e.subscriber_id,
        e.run_no
    FROM drip_enrollments AS e
    WHERE e.drip_id = $1 AND e.state = 'failed' AND (e.subscriber_id, e.run_no) > ($2::bigint, $3::smallint)
    ORDER BY e.subscriber_id, e.run_no
    LIMIT $4
),

latest AS MATERIALIZED (
    SELECT f.id
    FROM failed AS f
    -- Whoever has come again since goes on in the later run.
    WHERE NOT EXISTS (
        SELECT FROM drip_enrollments AS k
        WHERE k.drip_id = $1 AND k.subscriber_id = f.subscriber_id AND k.run_no > f.run_no
    )
),

retried AS (
    UPDATE drip_enrollments AS e SET
        state = 'active',
        next_run_at = now(),
        attempts = 0,
        error = NULL,
        ended_at = NULL
    FROM latest AS l
    WHERE e.id = l.id AND e.id = ANY(ARRAY(SELECT x.id FROM latest AS x)) AND e.state = 'failed'
    RETURNING e.id
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT $1, 'failed', -count(*)
    FROM retried
    HAVING count(*) > 0
)

SELECT
    (SELECT count(*) FROM retried)::int AS retried,
    last_one.subscriber_id AS last_subscriber_id,
    last_one.run_no AS last_run_no
FROM (SELECT 1) AS one
LEFT JOIN LATERAL (
    SELECT
        f.subscriber_id,
        f.run_no
    FROM failed AS f
    ORDER BY f.subscriber_id DESC, f.run_no DESC
    LIMIT 1
) AS last_one ON true;
