-- name: load_routes
-- Everything that decides which way the mail of some brands goes: a row for each sender, or one for a brand without any.
SELECT
    b.id AS brand_id,
    b.name AS brand_name,
    b.sender_name AS brand_sender_name,
    b.sender_address AS brand_sender_address,
    s.id AS sender_id,
    s.name,
    s.address,
    s.reply_to,
    s.kinds,
    s.rank,
    s.state,
    s.daily_limit,
    s.warmup,
    s.warmup_on,
    s.warmup_limit,
    s.mail_account_id,
    a.version AS account_version,
    a.provider,
    a.settings,
    a.secret_sealed,
    a.per_second,
    a.state AS account_state,
    a.parked_until,
    p.key IS NOT NULL AS paced,
    p.told_interval,
    pace_at($4, p.slowed_to, p.slowed_until) AS share,
    d.used,
    t.used AS warmup_used,
    k.id AS dkim_id,
    k.domain AS dkim_domain,
    k.selector AS dkim_selector,
    k.algorithm AS dkim_algorithm,
    k.private_key_sealed AS dkim_key_sealed
FROM unnest($1::bigint []) AS w (id)
-- Each by its key, one at a time: a plan that was made while there was little must not read all of it later.
CROSS JOIN LATERAL (
    SELECT
        x.id,
        x.account_id,
        x.name,
        x.sender_name,
        x.sender_address
    FROM brands AS x
    WHERE x.id = w.id
    LIMIT 1
) AS b
LEFT JOIN LATERAL (
    SELECT x.*
    FROM senders AS x
    WHERE x.brand_id = b.id
    ORDER BY x.rank, x.id
    LIMIT 1000
) AS s ON true
LEFT JOIN LATERAL (
    SELECT x.*
    FROM mail_accounts AS x
    WHERE x.id = s.mail_account_id
    LIMIT 1
) AS a ON true
LEFT JOIN LATERAL (
    SELECT x.*
    FROM pacing_buckets AS x
    WHERE x.key = 'account:' || coalesce(s.mail_account_id::text, 'default')
    LIMIT 1
) AS p ON true
LEFT JOIN LATERAL (
    SELECT x.used
    FROM sending_days AS x
    WHERE x.key = 'sender:' || s.id AND x.day = $2
    LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT x.used
    FROM sending_days AS x
    WHERE s.warmup = 'domain' AND x.key = warmup_key(s.id, s.warmup, s.address) AND x.day = $2
    LIMIT 1
) AS t ON true
LEFT JOIN LATERAL (
    SELECT
        x.id,
        x.domain,
        x.selector,
        x.algorithm,
        x.private_key_sealed
    FROM dkim_keys AS x
    WHERE
        x.domain = lower(coalesce(split_part(coalesce(s.address, b.sender_address), '@', 2), $3))
        AND x.state = 'active'
        AND (x.account_id IS NULL OR x.account_id = b.account_id)
    ORDER BY x.id DESC
    LIMIT 1
) AS k ON true
ORDER BY b.id, s.rank, s.id;

-- name: park
-- Let an account rest until $2, or end its rest. A longer rest is not cut short by a shorter one.
UPDATE mail_accounts AS a SET
    parked_until = greatest(a.parked_until, $2),
    parked_reason = CASE WHEN a.parked_until > $2 THEN a.parked_reason ELSE $3 END
WHERE a.id = $1
RETURNING a.id;

-- name: unpark
-- End an account's rest.
UPDATE mail_accounts AS a SET
    parked_until = NULL,
    parked_reason = NULL
WHERE a.id = $1
RETURNING a.id;

-- name: note_returns
-- Add what came back of a sender's mails of a day to what its warm-up looks at. Unlimited senders have no days to add to.
INSERT INTO sending_days AS d (key, day, bounced, complained)
SELECT
    warmup_key(s.id, s.warmup, s.address),
    $2::date,
    $3::int,
    $4::int
FROM senders AS s
WHERE s.id = $1 AND s.warmup <> 'none'
ON CONFLICT (key, day) DO UPDATE SET
    bounced = d.bounced + excluded.bounced,
    complained = d.complained + excluded.complained;
