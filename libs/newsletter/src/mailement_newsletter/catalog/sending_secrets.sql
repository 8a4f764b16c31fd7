-- name: all_sealed
-- Every stored secret of sending, by whom it was sealed for.
SELECT
    'mail_account:' || a.id AS owner,
    a.secret_sealed AS sealed
FROM mail_accounts AS a
WHERE a.secret_sealed IS NOT NULL
UNION ALL
SELECT
    'dkim:' || k.id AS owner,
    k.private_key_sealed AS sealed
FROM dkim_keys AS k
ORDER BY owner;

-- name: reseal_account
-- The same password under another key, unless it was changed meanwhile.
UPDATE mail_accounts AS a SET secret_sealed = $3
WHERE 'mail_account:' || a.id = $1 AND a.secret_sealed = $2;

-- name: reseal_dkim
-- The same private key under another key.
UPDATE dkim_keys AS k SET private_key_sealed = $3
WHERE 'dkim:' || k.id = $1 AND k.private_key_sealed = $2;
