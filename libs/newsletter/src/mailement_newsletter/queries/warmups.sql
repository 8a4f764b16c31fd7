-- name: standing
-- Where the warm-ups of some senders stand whose stage is of a day before $2, and what the week before $2 was like.
SELECT
    s.id,
    s.warmup,
    s.warmup_day,
    s.warmup_on,
    s.warmup_limit,
    coalesce(u.used, 0) AS used,
    w.sent,
    w.bounced,
    w.complained,
    $2::date - coalesce(l.day, s.warmup_on) AS idle_days
FROM senders AS s
CROSS JOIN LATERAL (SELECT warmup_key(s.id, s.warmup, s.address) AS key) AS k
LEFT JOIN sending_days AS u ON k.key = u.key AND s.warmup_on = u.day
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(d.used), 0)::int AS sent,
        coalesce(sum(d.bounced), 0)::int AS bounced,
        coalesce(sum(d.complained), 0)::int AS complained
    FROM sending_days AS d
    WHERE d.key = k.key AND d.day >= $2::date - $3::int AND d.day < $2
) AS w
LEFT JOIN LATERAL (
    SELECT d.day
    FROM sending_days AS d
    WHERE d.key = k.key AND d.used > 0
    ORDER BY d.day DESC
    LIMIT 1
) AS l ON true
WHERE s.id = ANY($1::bigint []) AND s.warmup <> 'none' AND s.warmup_on < $2;

-- name: set_stages
-- Begin the day of each sender's warm-up, unless another mailer has done so.
UPDATE senders AS s SET
    warmup_day = n.day,
    warmup_limit = n.most,
    warmup_on = $4::date
FROM unnest($1::bigint [], $2::int [], $3::int []) AS n (id, day, most)
WHERE s.id = n.id AND s.warmup <> 'none' AND s.warmup_on < $4;

-- name: forget_days
-- Days that nobody will ask for again.
DELETE FROM sending_days AS d
WHERE (d.key, d.day) IN (
    SELECT
        o.key,
        o.day
    FROM sending_days AS o
    WHERE o.day < $1
    ORDER BY o.day
    LIMIT 1000
);
