-- name: stage
-- Keep a new secret ready: from now on it signs beside the active one.
UPDATE webhook_endpoints AS e SET
    secret_staged_sealed = $3,
    secret_staged_at = now(),
    updated_at = now()
WHERE
    e.id = $1
    AND e.state <> 'deleted'
    AND ($2::bigint IS NULL OR e.brand_id = $2)
    AND e.secret_staged_sealed IS NULL
    AND e.secret_previous_sealed IS NULL
RETURNING e.id;
