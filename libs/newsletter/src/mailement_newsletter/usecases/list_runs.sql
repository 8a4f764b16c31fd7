-- name: page
-- The runs of a drip behind a place, up to a subscriber, in one state or in any; no more are looked at than one says.
SELECT
    e.id,
    e.subscriber_id,
    e.run_no
FROM (
    SELECT
        k.id,
        k.subscriber_id,
        k.run_no,
        k.state
    FROM drip_enrollments AS k
    WHERE
        k.drip_id = $1
        AND (k.subscriber_id, k.run_no) > ($2::bigint, $3::smallint)
        AND k.subscriber_id <= $7
    ORDER BY k.subscriber_id, k.run_no
    LIMIT $6
) AS e
WHERE $4::text IS NULL OR e.state = $4
ORDER BY e.subscriber_id, e.run_no
LIMIT $5;

-- name: last_looked_at
-- Where looking stopped; no row: at the end of the list.
SELECT
    k.subscriber_id,
    k.run_no
FROM drip_enrollments AS k
WHERE
    k.drip_id = $1
    AND (k.subscriber_id, k.run_no) > ($2::bigint, $3::smallint)
    AND k.subscriber_id <= $5
ORDER BY k.subscriber_id, k.run_no
LIMIT 1 OFFSET $4 - 1;

-- name: failed
-- Those that failed, which have an index of their own.
SELECT
    e.id,
    e.subscriber_id,
    e.run_no
FROM drip_enrollments AS e
WHERE e.drip_id = $1 AND e.state = 'failed' AND (e.subscriber_id, e.run_no) > ($2::bigint, $3::smallint)
ORDER BY e.subscriber_id, e.run_no
LIMIT $4;
