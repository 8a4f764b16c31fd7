-- name: note
-- The first time counts. What a program did is kept apart, whatever it did: it says nothing of the person.
WITH noted AS (
    UPDATE messages AS m SET
        opened_at = CASE WHEN $2 = 'opened' AND NOT $3 THEN $4 ELSE m.opened_at END,
        clicked_at = CASE WHEN $2 = 'clicked' AND NOT $3 THEN $4 ELSE m.clicked_at END,
        machine_opened_at = CASE WHEN $3 THEN $4 ELSE m.machine_opened_at END
    WHERE
        m.id = $1
        AND CASE WHEN $3 THEN m.machine_opened_at WHEN $2 = 'opened' THEN m.opened_at ELSE m.clicked_at END IS NULL
    RETURNING m.drip_id, m.drip_step_id
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, step_id, what, n)
    SELECT
        n.drip_id,
        coalesce(n.drip_step_id, 0),
        $2,
        1
    FROM noted AS n
    WHERE NOT $3::boolean AND n.drip_id IS NOT NULL
)

SELECT true AS is_first
FROM noted;
