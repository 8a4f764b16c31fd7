-- name: create
-- A new drip, live from the start.
INSERT INTO drips (brand_id, name, trigger, trigger_topic_id) VALUES ($1, $2, $3, $4)
RETURNING id;

-- name: add_step
-- One step of a drip.
INSERT INTO drip_steps (drip_id, position, delay, subject, html, body_text) VALUES ($1, $2, $3, $4, $5, $6);

-- name: list_all
-- The drips of a brand with the state of their enrolments.
SELECT
    d.id,
    d.name,
    d.state,
    d.trigger,
    t.slug AS topic,
    d.created_at,
    count(e.id) FILTER (WHERE e.state = 'active') AS active,
    count(e.id) FILTER (WHERE e.state = 'completed') AS completed,
    count(e.id) FILTER (WHERE e.state = 'exited') AS exited
FROM drips AS d
LEFT JOIN topics AS t ON d.trigger_topic_id = t.id
LEFT JOIN drip_enrollments AS e ON d.id = e.drip_id
WHERE d.brand_id = $1 AND ($2::bigint IS NULL OR d.id = $2)
GROUP BY d.id, t.slug
ORDER BY d.id;

-- name: steps
-- The live steps of a drip in order.
SELECT
    s.id,
    s.position,
    s.delay,
    s.subject,
    s.html,
    s.body_text
FROM drip_steps AS s
WHERE s.drip_id = $1 AND s.deleted_at IS NULL
ORDER BY s.position;

-- name: set_state
-- Pause or resume; enrolments keep their places and their clocks.
UPDATE drips SET state = $3
WHERE id = $1 AND brand_id = $2 AND state <> 'archived'
RETURNING id, name, state;
