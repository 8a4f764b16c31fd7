-- name: list_page
-- The newest subscribers of a brand before an id.
SELECT
    s.id,
    s.email,
    s.first_name,
    s.last_name,
    s.city,
    s.custom_fields,
    s.status,
    s.source,
    s.confirmed_at,
    s.unsubscribed_at,
    s.created_at,
    s.version
FROM subscribers AS s
WHERE s.brand_id = $1 AND ($2::text IS NULL OR s.status = $2) AND s.id < $3
ORDER BY s.id DESC
LIMIT $4;

-- name: find
-- One subscriber by key or id.
SELECT
    s.id,
    s.email,
    s.first_name,
    s.last_name,
    s.city,
    s.custom_fields,
    s.status,
    s.source,
    s.confirmed_at,
    s.unsubscribed_at,
    s.created_at,
    s.version
FROM subscribers AS s
WHERE
    s.brand_id = $1
    AND s.id = coalesce((SELECT k.id FROM subscribers AS k WHERE k.brand_id = $1 AND k.email_key = $2), $3);

-- name: topics
-- The topics of a subscriber.
SELECT
    t.id,
    t.slug,
    t.name,
    t.is_public,
    t.created_at
FROM subscribers AS s
INNER JOIN topics AS t ON t.id = ANY(s.topic_ids) AND t.brand_id = s.brand_id
WHERE s.id = $1
ORDER BY t.slug;

-- name: enrollments
-- The drips that a subscriber is or was in, with the mails of each.
SELECT
    e.id,
    e.drip_id,
    d.name AS drip,
    e.state,
    e.exit_reason,
    e.enrolled_at,
    e.next_run_at,
    (
        SELECT count(*)
        FROM messages AS m
        WHERE m.subscriber_id = e.subscriber_id AND m.enrollment_id = e.id AND m.state = 'sent'
    ) AS mails_sent
FROM drip_enrollments AS e
INNER JOIN drips AS d ON e.drip_id = d.id
WHERE e.subscriber_id = $1
ORDER BY e.id;
