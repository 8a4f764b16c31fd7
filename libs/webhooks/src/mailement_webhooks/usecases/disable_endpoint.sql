-- name: disable
-- Send nothing more to an endpoint for now. What people have decided in the meantime stands.
UPDATE webhook_endpoints AS e SET
    state = 'disabled',
    state_reason = $2,
    updated_at = now()
WHERE e.id = $1 AND e.state = 'enabled'
RETURNING e.id;
