-- name: brand_of
-- The brand that a subscriber belongs to.
SELECT
    b.id,
    b.name
FROM subscribers AS s
INNER JOIN brands AS b ON s.brand_id = b.id
WHERE s.id = $1;
