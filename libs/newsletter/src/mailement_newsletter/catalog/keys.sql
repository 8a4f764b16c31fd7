-- name: create
-- A new key; only its hash and its last four characters are kept.
INSERT INTO api_keys (account_id, brand_id, dialect, name, key_hash, last_four, scopes)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING id;

-- name: list_all
-- The keys of a brand, or of every brand, or one key; revoked ones too.
SELECT
    k.id,
    b.slug AS brand,
    k.name,
    k.dialect,
    k.last_four,
    k.scopes,
    k.created_at,
    k.last_used_at,
    k.revoked_at
FROM api_keys AS k
LEFT JOIN brands AS b ON k.brand_id = b.id
WHERE ($1::bigint IS NULL OR k.brand_id = $1) AND ($2::bigint IS NULL OR k.id = $2)
ORDER BY k.id;

-- name: revoke
-- From now on nobody gets in with this key.
UPDATE api_keys SET revoked_at = now()
WHERE id = $1 AND revoked_at IS NULL;

-- name: announce
-- Tell every api process that what it remembers of keys is stale.
SELECT pg_notify($1, $2);
