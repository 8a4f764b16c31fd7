-- name: rollback
-- Take back the last step of a rotation: drop what is staged, or put the previous secret back and stage the promoted one.
UPDATE webhook_endpoints AS e SET
    secret_sealed = coalesce(e.secret_previous_sealed, e.secret_sealed),
    secret_staged_sealed = CASE WHEN e.secret_previous_sealed IS NOT NULL THEN e.secret_sealed END,
    secret_staged_at = CASE WHEN e.secret_previous_sealed IS NOT NULL THEN now() END,
    secret_previous_sealed = NULL,
    secret_promoted_at = NULL,
    updated_at = now()
WHERE
    e.id = $1
    AND e.state <> 'deleted'
    AND ($2::bigint IS NULL OR e.brand_id = $2)
    AND (e.secret_staged_sealed IS NOT NULL OR e.secret_previous_sealed IS NOT NULL)
RETURNING e.id;
