-- name: claim
-- Take the oldest events out of the outbox and into the log; other relays skip them. Undone if they are not published.
WITH claimed AS (
    DELETE FROM outbox
    -- By array: the planner takes it for a short one and stays with the primary key.
    WHERE id = ANY(ARRAY(SELECT o.id FROM outbox AS o ORDER BY o.id LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING id, event_id, type, brand_id, data, traceparent, occurred_at
),

logged AS (
    INSERT INTO event_log (event_id, type, brand_id, data, traceparent, occurred_at)
    SELECT
        c.event_id,
        c.type,
        c.brand_id,
        c.data,
        c.traceparent,
        c.occurred_at
    FROM claimed AS c
)

SELECT
    c.id,
    c.event_id,
    c.type,
    c.brand_id,
    c.data,
    c.traceparent,
    c.occurred_at
FROM claimed AS c
ORDER BY c.id;

-- name: oldest
-- How long the event that is next has been waiting, in seconds.
SELECT extract(EPOCH FROM clock_timestamp() - o.occurred_at)::float
FROM outbox AS o
ORDER BY o.id
LIMIT 1;

-- name: bury
-- Set an event aside that the broker will not take, so that it does not block the others; it was not published after all.
WITH unpublished AS (
    DELETE FROM event_log WHERE event_id = $2
)

INSERT INTO outbox_dead (id, event_id, type, brand_id, data, traceparent, occurred_at, error)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);
