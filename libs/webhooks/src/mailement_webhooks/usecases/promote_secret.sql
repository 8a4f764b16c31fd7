-- name: promote
-- The staged secret becomes the active one; the one before it goes on signing beside it.
UPDATE webhook_endpoints AS e SET
    secret_sealed = e.secret_staged_sealed,
    secret_previous_sealed = e.secret_sealed,
    secret_staged_sealed = NULL,
    secret_staged_at = NULL,
    secret_promoted_at = now(),
    updated_at = now()
WHERE
    e.id = $1
    AND e.state <> 'deleted'
    AND ($2::bigint IS NULL OR e.brand_id = $2)
    AND e.secret_staged_sealed IS NOT NULL
RETURNING e.id;
