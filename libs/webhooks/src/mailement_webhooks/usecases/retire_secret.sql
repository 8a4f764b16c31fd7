-- name: retire
-- Forget the secret that was active before the promotion.
UPDATE webhook_endpoints AS e SET
    secret_previous_sealed = NULL,
    secret_promoted_at = NULL,
    updated_at = now()
WHERE
    e.id = $1
    AND e.state <> 'deleted'
    AND ($2::bigint IS NULL OR e.brand_id = $2)
    AND e.secret_previous_sealed IS NOT NULL
RETURNING e.id;
