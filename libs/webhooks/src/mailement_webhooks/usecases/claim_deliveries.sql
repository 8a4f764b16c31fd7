-- name: claim
-- Lease what is due, in turns: from the cursor on, each waiting endpoint gets an equal share of the free slots.
WITH RECURSIVE ring (endpoint_id, lap, place) AS (
    SELECT
        $1::bigint,
        0,
        0
    UNION ALL
    -- Jumps through the index from endpoint to endpoint: one probe each, however much waits for one of them.
    SELECT
        step.endpoint_id,
        step.lap,
        r.place + 1
    FROM ring AS r
    CROSS JOIN LATERAL (
        SELECT
            coalesce(following.endpoint_id, lowest.endpoint_id) AS endpoint_id,
            r.lap + CASE WHEN following.endpoint_id IS NULL THEN 1 ELSE 0 END AS lap
        FROM (
            SELECT min(d.endpoint_id) AS endpoint_id
            FROM webhook_deliveries AS d
            WHERE d.state = 'pending' AND d.endpoint_id > r.endpoint_id
        ) AS following
        CROSS JOIN (
            SELECT min(d.endpoint_id) AS endpoint_id
            FROM webhook_deliveries AS d
            WHERE d.state = 'pending'
        ) AS lowest
    ) AS step
    WHERE step.lap = 0 OR (step.lap = 1 AND step.endpoint_id <= $1)
),

-- The limit ends the ring early: PostgreSQL runs a recursive query only as far as it is read.
turns AS MATERIALIZED (
    SELECT
        o.endpoint_id,
        o.place,
        o.room
    FROM (
        SELECT
            r.endpoint_id,
            r.place,
            -- What this dispatcher has under way counts against the endpoint's limit.
            coalesce(($6::int [])[array_position($5::bigint [], r.endpoint_id)], $3::int) AS room
        FROM ring AS r
        WHERE r.place > 0
    ) AS o
    WHERE
        o.room > 0
        -- A scalar subquery and not a join, which could read the whole ring and lose its order.
        AND (SELECT e.state FROM webhook_endpoints AS e WHERE e.id = o.endpoint_id) = 'enabled'
    LIMIT $2::int -- noqa: AM09
),

due AS (
    SELECT d.id
    FROM turns AS t
    CROSS JOIN LATERAL (
        SELECT p.id
        FROM webhook_deliveries AS p
        WHERE p.state = 'pending' AND p.endpoint_id = t.endpoint_id AND p.due_at <= now()
        ORDER BY p.due_at, p.id
        LIMIT least(t.room, $2::int / (SELECT count(*) FROM turns))
        FOR UPDATE SKIP LOCKED
    ) AS d
),

leased AS (
    UPDATE webhook_deliveries AS d SET
        state = 'leased',
        attempts = d.attempts + 1,
        lease_token = gen_random_uuid(),
        leased_at = now(),
        lease_until = now() + make_interval(secs => $4::float)
    FROM due
    WHERE d.id = due.id
    RETURNING d.id, d.event_id, d.endpoint_id, d.brand_id, d.attempts, d.lease_token, d.traceparent
)

SELECT
    t.endpoint_id,
    l.id,
    l.event_id,
    l.brand_id,
    l.attempts,
    l.lease_token,
    l.traceparent,
    e.url,
    e.secret_sealed,
    v.type,
    v.body,
    v.occurred_at
FROM turns AS t
LEFT JOIN leased AS l ON t.endpoint_id = l.endpoint_id
LEFT JOIN webhook_endpoints AS e ON l.endpoint_id = e.id
LEFT JOIN webhook_events AS v ON l.event_id = v.event_id AND e.profile = v.profile
ORDER BY t.place, l.id;

-- name: release
-- Give back what was leased and not begun; the attempt that was counted beforehand never was.
WITH held AS (
    SELECT
        d.id,
        d.endpoint_id
    FROM unnest($1::bigint [], $2::uuid []) AS r (id, lease_token)
    INNER JOIN webhook_deliveries AS d ON r.id = d.id AND d.state = 'leased' AND r.lease_token = d.lease_token
    FOR UPDATE OF d
),

-- Locked, so that whoever deletes an endpoint does not miss a delivery that is between two states.
endpoints AS MATERIALIZED (
    SELECT
        e.id,
        e.state = 'deleted' AS is_deleted
    FROM webhook_endpoints AS e
    WHERE e.id IN (SELECT h.endpoint_id FROM held AS h)
    ORDER BY e.id
    FOR SHARE
)

UPDATE webhook_deliveries AS d SET
    state = CASE WHEN e.is_deleted THEN 'failed' ELSE 'pending' END,
    reason = CASE WHEN e.is_deleted THEN 'endpoint_deleted' ELSE d.reason END,
    finished_at = CASE WHEN e.is_deleted THEN now() END,
    attempts = d.attempts - 1,
    lease_token = NULL,
    leased_at = NULL,
    lease_until = NULL
FROM held AS h
INNER JOIN endpoints AS e ON h.endpoint_id = e.id
WHERE d.id = h.id;
