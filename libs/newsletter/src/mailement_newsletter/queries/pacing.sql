-- name: reserve
-- How many mails of each want may leave now, in the order of the wants; what is granted is taken.
SELECT
    r.mails,
    r.again_at,
    r.day_used_up
FROM reserve_pace($1, $2, $3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY AS r (mails, again_at, day_used_up, n)
ORDER BY r.n;

-- name: give_back
-- What a day granted and did not leave. In the order that reserve locks them, which is that of code points.
WITH locked AS MATERIALIZED (
    SELECT
        s.key,
        s.day,
        g.mails
    FROM unnest($1::text [], $2::date [], $3::int []) AS g (key, day, mails)
    INNER JOIN sending_days AS s ON g.key = s.key AND g.day = s.day
    ORDER BY s.key COLLATE "C", s.day
    FOR UPDATE OF s
)

UPDATE sending_days AS s SET used = greatest(0, s.used - l.mails)
FROM locked AS l
WHERE s.key = l.key AND s.day = l.day;

-- name: slow_down
-- The provider asks for silence until $2; then comes a slower pace.
-- Several mails may be told so at once: only the first of them halves the rate, until the minute is over.
INSERT INTO pacing_buckets AS p (key, tat, shut_until, slowed_to, slowed_until)
VALUES ($1, $2, $2, 0.5, $2::timestamptz + $4::interval)
ON CONFLICT (key) DO UPDATE SET
    tat = greatest(p.tat, excluded.tat),
    shut_until = greatest(p.shut_until, excluded.shut_until),
    slowed_to = CASE
        WHEN p.slowed_until > $3 THEN p.slowed_to
        ELSE pace_at($3, p.slowed_to, p.slowed_until) / 2
    END,
    slowed_until = greatest(p.slowed_until, excluded.slowed_until);

-- name: observe
-- What the provider tells of its limit. Written only when it is news.
INSERT INTO pacing_buckets AS p (key, tat, told_interval, told_burst)
VALUES ($1, $2, $3, $4)
ON CONFLICT (key) DO UPDATE SET
    told_interval = excluded.told_interval,
    told_burst = excluded.told_burst
WHERE p.told_interval IS DISTINCT FROM excluded.told_interval OR p.told_burst IS DISTINCT FROM excluded.told_burst;
