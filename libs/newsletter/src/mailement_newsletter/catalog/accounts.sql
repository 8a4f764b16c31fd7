-- name: create
-- A new account.
INSERT INTO accounts (slug, name) VALUES ($1, $2)
RETURNING id, slug, name, created_at, 0 AS brands;

-- name: list_all
-- Every account, or one, with the number of its brands.
SELECT
    a.id,
    a.slug,
    a.name,
    a.created_at,
    (SELECT count(*) FROM brands AS b WHERE b.account_id = a.id AND b.deleted_at IS NULL) AS brands
FROM accounts AS a
WHERE $1::text IS NULL OR a.slug = $1
ORDER BY a.slug;
