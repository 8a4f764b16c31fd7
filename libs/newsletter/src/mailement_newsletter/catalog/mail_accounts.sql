-- name: create
-- A new mail account; its secret follows, sealed for its id.
INSERT INTO mail_accounts (account_id, name, provider, settings, per_second)
VALUES ($1, $2, $3, $4, $5)
RETURNING id;

-- name: set_secret
-- The sealed secret of a mail account.
UPDATE mail_accounts AS a SET secret_sealed = $2
WHERE a.id = $1;

-- name: list_all
-- Mail accounts, or one of them, with how many senders use each, and the pace that its provider asked for.
SELECT
    a.id,
    o.slug AS account,
    a.name,
    a.provider,
    a.settings,
    a.secret_sealed IS NOT NULL AS has_secret,
    a.per_second,
    a.state,
    CASE WHEN a.parked_until > now() THEN a.parked_until END AS parked_until,
    CASE WHEN a.parked_until > now() THEN a.parked_reason END AS parked_reason,
    CASE WHEN p.shut_until > now() THEN p.shut_until END AS silent_until,
    1 / p.told_interval AS told_per_second,
    a.version,
    s.senders,
    a.created_at
FROM mail_accounts AS a
LEFT JOIN accounts AS o ON a.account_id = o.id
LEFT JOIN pacing_buckets AS p ON p.key = 'account:' || a.id
CROSS JOIN LATERAL (
    SELECT count(*)::int AS senders
    FROM senders AS s
    WHERE s.mail_account_id = a.id
) AS s
WHERE $1::text IS NULL OR a.name = $1
ORDER BY a.name;

-- name: update
-- Change what is given of a mail account; mailers take up the change with the new version.
UPDATE mail_accounts AS a SET
    settings = $2,
    per_second = $3,
    secret_sealed = CASE WHEN $5 THEN coalesce($4, a.secret_sealed) END,
    version = a.version + 1
WHERE a.id = $1 AND a.state <> 'retired';

-- name: set_state
-- Pause, resume or retire a mail account. A retired one stays so.
UPDATE mail_accounts AS a SET state = $2
WHERE a.id = $1 AND a.state <> 'retired'
RETURNING a.id;
