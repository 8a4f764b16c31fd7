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
    d.used,
    w.used AS warmup_used,
    k.id AS dkim_id,
    k.domain AS dkim_domain,
    k.selector AS dkim_selector,
    k.algorithm AS dkim_algorithm,
    k.private_key_sealed AS dkim_key_sealed
FROM brands AS b
LEFT JOIN senders AS s ON b.id = s.brand_id
LEFT JOIN mail_accounts AS a ON s.mail_account_id = a.id
LEFT JOIN pacing_buckets AS p ON p.key = 'account:' || coalesce(a.id::text, 'default')
LEFT JOIN sending_days AS d ON d.key = 'sender:' || s.id AND d.day = $2
LEFT JOIN
    sending_days AS w
    ON s.warmup = 'domain' AND w.key = 'domain:' || lower(split_part(s.address, '@', 2)) AND w.day = $2
LEFT JOIN LATERAL (
    SELECT
        k.id,
        k.domain,
        k.selector,
        k.algorithm,
        k.private_key_sealed
    FROM dkim_keys AS k
    WHERE
        k.domain = lower(coalesce(split_part(coalesce(s.address, b.sender_address), '@', 2), $3))
        AND k.state = 'active'
        AND (k.account_id IS NULL OR k.account_id = b.account_id)
    ORDER BY k.id DESC
    LIMIT 1
) AS k ON true
WHERE b.id = ANY($1::bigint [])
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
    CASE WHEN s.warmup = 'domain' THEN 'domain:' || lower(split_part(s.address, '@', 2)) ELSE 'sender:' || s.id END,
    $2::date,
    $3::int,
    $4::int
FROM senders AS s
WHERE s.id = $1 AND s.warmup <> 'none'
ON CONFLICT (key, day) DO UPDATE SET
    bounced = d.bounced + excluded.bounced,
    complained = d.complained + excluded.complained;
