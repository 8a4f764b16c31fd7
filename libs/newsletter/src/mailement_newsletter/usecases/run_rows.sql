-- name: runs
-- Runs by their ids, in that order.
SELECT
    e.id,
    e.drip_id,
    e.subscriber_id,
    e.run_no,
    e.state,
    e.exit_reason,
    e.enrolled_at,
    e.next_run_at,
    e.ended_at,
    e.attempts,
    e.error
FROM unnest($1::bigint []) WITH ORDINALITY AS a (id, place)
-- With a LIMIT it stays a look-up for each, whatever the planner believes.
CROSS JOIN LATERAL (
    SELECT k.*
    FROM drip_enrollments AS k
    WHERE k.id = a.id
    LIMIT 1
) AS e
ORDER BY a.place;

-- name: subscriber
-- Whom an address or an id means.
SELECT s.id
FROM subscribers AS s
WHERE s.brand_id = $1 AND s.email_key = $2
UNION ALL
SELECT s.id
FROM subscribers AS s
WHERE s.brand_id = $1 AND s.id = $3;
