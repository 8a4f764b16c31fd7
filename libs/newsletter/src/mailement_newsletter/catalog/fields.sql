-- name: create
-- A custom field that the brand's callers may fill.
INSERT INTO custom_fields (brand_id, key, name) VALUES ($1, $2, $3)
RETURNING id, key, name, created_at;

-- name: list_all
-- The custom fields of a brand, or one of them.
SELECT
    f.id,
    f.key,
    f.name,
    f.created_at
FROM custom_fields AS f
WHERE f.brand_id = $1 AND ($2::text IS NULL OR f.key = $2)
ORDER BY f.key;
