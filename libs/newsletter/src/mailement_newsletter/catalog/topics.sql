-- name: create
-- A new topic of a brand.
INSERT INTO topics (brand_id, slug, name, is_public) VALUES ($1, $2, $3, $4)
RETURNING id, slug, name, is_public, created_at;

-- name: list_all
-- The topics of a brand, or one of them.
SELECT
    t.id,
    t.slug,
    t.name,
    t.is_public,
    t.created_at
FROM topics AS t
WHERE t.brand_id = $1 AND ($2::text IS NULL OR t.slug = $2)
ORDER BY t.slug;

-- name: unknown
-- Slugs that callers asked for and the brand does not have, the latest first.
SELECT
    u.slug,
    min(u.seen_on) AS first_seen,
    max(u.seen_on) AS last_seen,
    count(*) AS days
FROM unknown_topics AS u
WHERE u.brand_id = $1
GROUP BY u.slug
ORDER BY max(u.seen_on) DESC, u.slug
LIMIT 1000;
