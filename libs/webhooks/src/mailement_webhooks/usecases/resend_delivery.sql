-- name: hasten
-- Let a delivery that waits be due now, before all that is replayed.
UPDATE delivery_queue AS q SET
    due_at = now(),
    trigger = 'manual',
    lane = 0,
    -- Somebody wants it after all, though its endpoint was drained.
    created_at = CASE WHEN q.sequence <= e.discard_through THEN now() ELSE q.created_at END
FROM webhook_endpoints AS e
WHERE
    q.delivery_id = $1
    AND ($2::bigint IS NULL OR q.brand_id = $2)
    AND q.lease_token IS NULL
    AND q.endpoint_id = e.id
    AND e.state <> 'deleted'
RETURNING q.delivery_id, pg_notify('webhook_due', q.endpoint_id::text);

-- name: requeue
-- Put a finished delivery into the queue once more; its attempts go on counting where they were.
WITH found AS MATERIALIZED (
    SELECT
        d.id,
        d.occurred_at,
        d.event_id,
        d.endpoint_id,
        d.brand_id,
        d.sequence,
        d.attempts,
        d.state,
        e.state = 'deleted' AS endpoint_deleted,
        p.body IS NOT NULL AS has_payload
    FROM deliveries AS d
    INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
    LEFT JOIN delivery_payloads AS p
        ON d.event_id = p.event_id AND e.profile = p.profile AND d.occurred_at = p.occurred_at
    WHERE d.id = $1 AND ($2::bigint IS NULL OR d.brand_id = $2)
    -- Whoever ends it has written the number of its attempts by then.
    FOR NO KEY UPDATE OF d
),

queued AS (
    INSERT INTO delivery_queue (
        delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence, trigger, attempts
    )
    SELECT
        f.id,
        f.occurred_at,
        f.event_id,
        f.endpoint_id,
        f.brand_id,
        f.sequence,
        'manual',
        f.attempts
    FROM found AS f
    WHERE f.state <> 'pending' AND f.has_payload AND NOT f.endpoint_deleted
    ON CONFLICT DO NOTHING
    RETURNING delivery_id, occurred_at, endpoint_id
),

-- Reason and moment of its end stay, in case it is discarded before it is sent: what had arrived has arrived.
reopened AS (
    UPDATE deliveries AS d SET state = 'pending'
    FROM queued AS q
    WHERE d.id = q.delivery_id AND d.occurred_at = q.occurred_at
)

SELECT
    f.endpoint_id,
    f.state = 'pending' AS waits,
    f.endpoint_deleted,
    f.has_payload,
    q.delivery_id IS NOT NULL AS requeued,
    CASE WHEN q.delivery_id IS NOT NULL THEN pg_notify('webhook_due', f.endpoint_id::text) END AS told
FROM found AS f
LEFT JOIN queued AS q ON f.id = q.delivery_id;
