-- name: marked
-- Lock what waits for endpoints that were told to forget it. What is on its way is left alone.
SELECT
    d.delivery_id,
    coalesce(e.discard_reason, 'drained') AS reason
FROM webhook_endpoints AS e
CROSS JOIN LATERAL (
    SELECT w.delivery_id
    FROM delivery_queue AS w
    WHERE
        w.endpoint_id = e.id
        AND w.lease_token IS NULL
        AND w.sequence <= e.discard_through
        AND w.created_at <= e.discard_as_of
    LIMIT $1::int
    FOR UPDATE SKIP LOCKED
) AS d
WHERE e.discard_through IS NOT NULL
LIMIT $1::int;

-- name: unmark
-- The marks that have done their work. Events that were matched just before may still be on their way into the queue.
UPDATE webhook_endpoints AS e SET
    discard_through = NULL,
    discard_reason = NULL
WHERE
    e.discard_through IS NOT NULL
    AND greatest(e.state_changed_at, e.updated_at) < now() - interval '1 minute'
    AND NOT EXISTS (
        SELECT
        FROM delivery_queue AS q
        WHERE q.endpoint_id = e.id AND q.sequence <= e.discard_through AND q.created_at <= e.discard_as_of
    );
