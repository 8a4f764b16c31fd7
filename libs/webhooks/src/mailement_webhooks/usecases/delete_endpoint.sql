-- name: delete
-- Take a brand's endpoint away; its row stays, because the ledger speaks of it.
UPDATE webhook_endpoints AS e SET
    state = 'deleted',
    updated_at = now()
WHERE e.brand_id = $1 AND e.state <> 'deleted'
RETURNING e.id;

-- name: cancel_waiting
-- What waits for a deleted endpoint will never be sent: say so in the ledger.
UPDATE webhook_deliveries AS d SET
    state = 'failed',
    reason = 'endpoint_deleted',
    finished_at = now()
WHERE d.endpoint_id = ANY($1::bigint []) AND d.state = 'pending';
