-- name: delete
-- Take endpoints away, one or all of a brand; their rows stay, because the ledger speaks of them.
WITH deleted AS (
    UPDATE webhook_endpoints AS e SET
        state = 'deleted',
        state_reason = NULL,
        updated_at = now()
    WHERE
        e.state <> 'deleted'
        AND ($1::bigint IS NULL OR e.id = $1)
        AND ($2::bigint IS NULL OR e.brand_id = $2)
        AND coalesce($1::bigint, $2::bigint) IS NOT NULL
    RETURNING e.id
),

cancelled AS (
    UPDATE webhook_replays AS r SET
        state = 'cancelled',
        updated_at = now()
    FROM deleted AS d
    WHERE r.endpoint_id = d.id AND r.state IN ('running', 'paused')
)

SELECT d.id
FROM deleted AS d;
