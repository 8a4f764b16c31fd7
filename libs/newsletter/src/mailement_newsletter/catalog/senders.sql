-- name: create
-- A new sender of a brand; a warm-up begins today.
INSERT INTO senders (
    brand_id, mail_account_id, name, address, reply_to, kinds, rank, daily_limit, warmup, warmup_on, warmup_limit
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9,
    CASE WHEN $9 <> 'none' THEN (now() AT TIME ZONE 'UTC')::date END,
    $10
)
RETURNING id;

-- name: list_all
-- Senders: of a brand or of all, or one of them; with what left today.
SELECT
    s.id,
    b.slug AS brand,
    s.name,
    s.address,
    s.reply_to,
    s.kinds,
    s.rank,
    a.name AS mail_account,
    s.daily_limit,
    s.warmup,
    CASE WHEN s.warmup <> 'none' THEN s.warmup_day END AS warmup_day,
    s.warmup_limit,
    coalesce(d.used, 0) AS sent_today,
    s.state,
    s.created_at
FROM senders AS s
INNER JOIN brands AS b ON s.brand_id = b.id
LEFT JOIN mail_accounts AS a ON s.mail_account_id = a.id
LEFT JOIN
    sending_days AS d
    ON d.key = warmup_key(s.id, s.warmup, s.address) AND d.day = (now() AT TIME ZONE 'UTC')::date
WHERE b.deleted_at IS NULL AND ($1::bigint IS NULL OR s.brand_id = $1) AND ($2::bigint IS NULL OR s.id = $2)
ORDER BY b.slug, s.rank, s.id;

-- name: update
-- Change a sender. A warm-up that is chosen anew begins today; one that stays goes on.
UPDATE senders AS s SET
    mail_account_id = $2,
    name = $3,
    reply_to = $4,
    kinds = $5,
    rank = $6,
    daily_limit = $7,
    warmup = $8,
    warmup_day = CASE WHEN s.warmup = $8 THEN s.warmup_day ELSE 0 END,
    warmup_limit = CASE WHEN s.warmup = $8 THEN s.warmup_limit ELSE $9::int END,
    warmup_on = CASE
        WHEN s.warmup = $8 THEN s.warmup_on
        WHEN $8 <> 'none' THEN (now() AT TIME ZONE 'UTC')::date
    END
WHERE s.id = $1;

-- name: set_state
-- Pause or resume a sender.
UPDATE senders AS s SET state = $2
WHERE s.id = $1;
