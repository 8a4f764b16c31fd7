-- name: create
-- A new DKIM key; the private key follows, sealed for its id.
INSERT INTO dkim_keys (account_id, domain, selector, algorithm, private_key_sealed)
VALUES ($1, $2, $3, $4, '')
RETURNING id;

-- name: set_key
-- The sealed private key.
UPDATE dkim_keys AS k SET private_key_sealed = $2
WHERE k.id = $1;

-- name: list_all
-- DKIM keys, or one of them.
SELECT
    k.id,
    o.slug AS account,
    k.domain,
    k.selector,
    k.algorithm,
    k.state,
    k.created_at,
    k.private_key_sealed
FROM dkim_keys AS k
LEFT JOIN accounts AS o ON k.account_id = o.id
WHERE $1::bigint IS NULL OR k.id = $1
ORDER BY k.domain, k.id;

-- name: set_state
-- Begin or end signing with a key.
UPDATE dkim_keys AS k SET state = $2
WHERE k.id = $1;
