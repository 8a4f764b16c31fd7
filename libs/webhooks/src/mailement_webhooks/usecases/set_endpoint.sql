-- name: take_turn
-- Two operators who set the same brand's endpoint do so one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('webhook_endpoint of brand ' || $1::bigint, 0));

-- name: current
-- The endpoints that the brand has, locked: nobody deletes what is about to be set.
SELECT e.id
FROM webhook_endpoints AS e
WHERE e.brand_id = $1 AND e.profile = $2 AND e.state <> 'deleted'
ORDER BY e.id
FOR NO KEY UPDATE;

-- name: next_id
-- The id that a new endpoint will get: the secret is sealed for it beforehand.
SELECT nextval(pg_get_serial_sequence('webhook_endpoints', 'id'));

-- name: upsert
-- Make the endpoint, or point the one that is there elsewhere, with one new secret in place of all it had.
INSERT INTO webhook_endpoints AS e (id, account_id, brand_id, profile, url, secret_sealed, event_types, retries)
OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, $5, $6, $7::text [], coalesce($8, 'schedule'))
ON CONFLICT (id) DO UPDATE SET
    url = excluded.url,
    secret_sealed = excluded.secret_sealed,
    secret_staged_sealed = NULL,
    secret_staged_at = NULL,
    secret_previous_sealed = NULL,
    secret_promoted_at = NULL,
    retries = coalesce($8, e.retries),
    state = 'enabled',
    state_reason = NULL,
    updated_at = now();
