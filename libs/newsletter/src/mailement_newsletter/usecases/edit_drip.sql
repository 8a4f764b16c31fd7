-- name: respace
-- New positions for all steps of a drip, those that were deleted too.
UPDATE drip_steps AS s SET position = m.new
FROM unnest($2::int [], $3::int []) AS m (old, new)
WHERE s.drip_id = $1 AND s.position = m.old;

-- name: move_runs
-- Let the scheduler move the runs along, when no statement that was under way before the pause can still set one back.
WITH outdated AS (
    -- Would reckon from old places in runs to new ones of steps; the edit asks anew. A slice that is under way is waited for.
    DELETE FROM drip_jobs AS j WHERE j.drip_id = $1 AND j.kind = 'retime'
)

INSERT INTO drip_jobs (drip_id, kind, params, not_before)
VALUES ($1, 'respace', jsonb_build_object('old', $2::int [], 'new', $3::int []), clock_timestamp() + interval '35 seconds');
