-- name: page
-- A brand's drips behind an id, in one state or in any.
SELECT
    d.id,
    d.name,
    d.state,
    d.trigger,
    coalesce(t.slug, d.trigger_event, d.trigger_field) AS starts_by,
    (SELECT count(*) FROM drip_steps AS s WHERE s.drip_id = d.id AND s.deleted_at IS NULL)::int AS steps,
    d.version,
    d.created_at,
    d.updated_at
FROM drips AS d
LEFT JOIN topics AS t ON d.trigger_topic_id = t.id
WHERE d.brand_id = $1 AND ($2::text IS NULL OR d.state = $2) AND d.id > $3
ORDER BY d.id
LIMIT $4;
