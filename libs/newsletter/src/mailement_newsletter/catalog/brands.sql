-- name: create
-- A new brand of an account.
INSERT INTO brands (account_id, slug, name, opt_in_mode, sender_name, sender_address, timezone)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING id;

-- name: zone
-- A time zone as PostgreSQL writes it.
SELECT z.name FROM timezones AS z WHERE lower(z.name) = lower($1);

-- name: list_all
-- Every brand that is not deleted, or one of them.
SELECT
    b.id,
    b.account_id,
    a.slug AS account,
    b.slug,
    b.name,
    b.opt_in_mode,
    b.sender_name,
    b.sender_address,
    b.timezone,
    b.created_at
FROM brands AS b
INNER JOIN accounts AS a ON b.account_id = a.id
WHERE b.deleted_at IS NULL AND ($1::text IS NULL OR b.slug = $1)
ORDER BY b.slug;

-- name: update
-- Change what is given of a brand; in another time zone its drips' windows, weekdays and dates are reckoned anew.
WITH moved AS (
    INSERT INTO drip_jobs (drip_id, kind)
    SELECT
        d.id,
        k.kind
    FROM brands AS b
    INNER JOIN drips AS d ON b.id = d.brand_id AND d.state IN ('live', 'paused')
    CROSS JOIN LATERAL unnest(
        CASE WHEN d.trigger = 'date' THEN ARRAY['retime', 'plan_dates'] ELSE ARRAY['retime'] END
    ) AS k (kind)
    WHERE b.id = $1 AND b.timezone <> $6
)

UPDATE brands AS b SET
    name = coalesce($2, b.name),
    opt_in_mode = coalesce($3, b.opt_in_mode),
    sender_name = coalesce($4, b.sender_name),
    sender_address = coalesce($5, b.sender_address),
    timezone = coalesce($6, b.timezone)
WHERE b.id = $1;

-- name: delete
-- Mark a brand as deleted; its keys answer brand_not_found from now on, its drips stop and its waiting mail is cancelled.
WITH gone AS (
    UPDATE brands SET deleted_at = now()
    WHERE id = $1 AND deleted_at IS NULL
    RETURNING id
),

archived AS (
    UPDATE drips AS d SET state = 'archived'
    FROM gone AS g
    WHERE d.brand_id = g.id AND d.state <> 'archived'
    RETURNING d.id, d.trigger
),

-- As when a drip is archived.
asked AS (
    INSERT INTO drip_jobs (drip_id, kind)
    SELECT
        a.id,
        'forget_dates'
    FROM archived AS a
    WHERE a.trigger = 'date'
)

UPDATE messages AS m SET
    state = 'cancelled',
    error = 'brand_deleted',
    finished_at = now()
FROM gone AS g
WHERE m.brand_id = g.id AND m.state = 'queued';

-- name: announce
-- Tell every api process that what it remembers of keys is stale.
SELECT pg_notify($1, $2);
