-- name: find_key
-- The key with this hash, and whether the brand behind it is still there.
SELECT
    k.id,
    k.account_id,
    k.brand_id,
    k.scopes,
    b.deleted_at IS NOT NULL AS brand_deleted
FROM api_keys AS k
LEFT JOIN brands AS b ON k.brand_id = b.id
WHERE k.key_hash = $1 AND k.revoked_at IS NULL;

-- name: note_use
-- Remember when keys were last used; a minute's precision spares the writes.
UPDATE api_keys AS k SET last_used_at = now()
WHERE k.id = ANY($1::bigint []) AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute');
