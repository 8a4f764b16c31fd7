-- name: stop_schedulers
-- Nobody who reads steps is under way any more, and nobody begins before the transaction ends.
LOCK TABLE drip_steps IN ACCESS EXCLUSIVE MODE;

-- name: respace
-- New positions for all steps of a drip; each active run stands between the same two steps as before, and as close to them.
WITH mapping AS MATERIALIZED (
    SELECT
        m.old,
        m.new
    FROM unnest($2::int [], $3::int []) AS m (old, new)
),

moved AS (
    UPDATE drip_steps AS s SET position = m.new
    FROM mapping AS m
    WHERE s.drip_id = $1 AND s.position = m.old
)

UPDATE drip_enrollments AS e SET
    -- Looked up in the new version of the row, should a scheduler have moved it on meanwhile.
    cursor_pos = coalesce(
        (SELECT m.new FROM mapping AS m WHERE m.old = e.cursor_pos),
        (SELECT m.new - 1 FROM mapping AS m WHERE m.old > e.cursor_pos ORDER BY m.old LIMIT 1),
        (SELECT max(m.new) FROM mapping AS m)
    )
WHERE e.drip_id = $1 AND e.state = 'active' AND e.cursor_pos > 0;

-- name: forget_dates
-- A trigger that is another one now.
DELETE FROM drip_dates WHERE drip_id = $1;
