-- name: next_id
-- The id that a new endpoint will get: its secret is sealed for it beforehand.
SELECT nextval(pg_get_serial_sequence('webhook_endpoints', 'id'));

-- name: create
-- Make an endpoint for a brand, or for all brands of an account, unless it has enough of them.
INSERT INTO webhook_endpoints (
    id,
    account_id,
    brand_id,
    profile,
    url,
    description,
    secret_sealed,
    event_types,
    retries,
    ordered,
    max_in_flight,
    rate_per_second
)
OVERRIDING SYSTEM VALUE
SELECT
    $1,
    o.account_id,
    $3,
    $4,
    $5,
    $6,
    $7,
    $8::text [],
    $9,
    $10,
    $11,
    $12
FROM (
    SELECT b.account_id
    FROM brands AS b
    WHERE b.id = $3::bigint AND b.deleted_at IS NULL
    UNION ALL
    SELECT a.id
    FROM accounts AS a
    WHERE a.id = $2::bigint AND $3::bigint IS NULL
) AS o
WHERE
    $13::int > (
        SELECT count(*)
        FROM webhook_endpoints AS e
        WHERE e.state <> 'deleted' AND e.account_id = o.account_id AND e.brand_id IS NOT DISTINCT FROM $3::bigint
    )
RETURNING id;

-- name: owner_exists
-- Whether there is such a brand or account.
SELECT EXISTS (
    SELECT
    FROM brands AS b
    WHERE b.id = $2::bigint AND b.deleted_at IS NULL
    UNION ALL
    SELECT
    FROM accounts AS a
    WHERE a.id = $1::bigint AND $2::bigint IS NULL
);
