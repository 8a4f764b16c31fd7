-- name: claim
-- Lease what is due for some endpoints, each within its room, live ones before replayed ones.
WITH turn AS MATERIALIZED (
    SELECT
        t.endpoint_id,
        t.room,
        t.replay_room,
        e.profile,
        e.version,
        coalesce(e.discard_through, 0) AS discard_through,
        e.discard_as_of
    FROM unnest($1::bigint [], $2::int [], $3::int []) AS t (endpoint_id, room, replay_room)
    INNER JOIN webhook_endpoints AS e ON t.endpoint_id = e.id AND e.state = 'enabled'
),

live AS MATERIALIZED (
    SELECT
        t.endpoint_id,
        d.delivery_id
    FROM turn AS t
    CROSS JOIN LATERAL (
        SELECT q.delivery_id
        FROM delivery_queue AS q
        WHERE
            q.endpoint_id = t.endpoint_id
            AND q.lane = 0
            AND q.lease_token IS NULL
            AND q.due_at <= now()
            -- What waited when the endpoint was told to forget it. What was asked for since is not meant.
            AND (q.sequence > t.discard_through OR q.created_at > t.discard_as_of)
            AND (
                q.order_key IS NULL
                OR q.created_at <= now() - make_interval(secs => $6::float)
                OR NOT EXISTS (
                    SELECT
                    FROM delivery_queue AS o
                    WHERE
                        o.endpoint_id = q.endpoint_id AND o.order_key = q.order_key AND o.sequence < q.sequence
                )
            )
        ORDER BY q.due_at, q.delivery_id
        LIMIT t.room -- noqa: AM09
    ) AS d
),

-- What live ones leave of each room.
remaining AS MATERIALIZED (
    SELECT
        t.endpoint_id,
        t.discard_through,
        t.discard_as_of,
        least(t.replay_room, t.room - coalesce(c.many, 0)) AS room
    FROM turn AS t
    LEFT JOIN (
        SELECT
            l.endpoint_id,
            count(*) AS many
        FROM live AS l
        GROUP BY l.endpoint_id
    ) AS c ON t.endpoint_id = c.endpoint_id
),

-- With one more of each than there is room for: it tells how long until then.
replayable AS MATERIALIZED (
    SELECT
        r.endpoint_id,
        d.delivery_id,
        d.due_at,
        d.place <= r.room AND d.due_at <= now() AS is_taken
    FROM remaining AS r
    CROSS JOIN LATERAL (
        SELECT
            q.delivery_id,
            q.due_at,
            row_number() OVER (ORDER BY q.due_at, q.delivery_id) AS place
        FROM delivery_queue AS q
        WHERE
            q.endpoint_id = r.endpoint_id
            AND q.lane = 1
            AND q.lease_token IS NULL
            AND (q.sequence > r.discard_through OR q.created_at > r.discard_as_of)
        ORDER BY q.due_at, q.delivery_id
        LIMIT greatest(r.room, 0) + 1 -- noqa: AM09
    ) AS d
),

leased AS (
    UPDATE delivery_queue AS q SET
        attempts = q.attempts + 1,
        lease_token = $4::uuid,
        leased_at = now(),
        due_at = now() + make_interval(secs => $5::float)
    WHERE
        -- By array: the planner takes it for a short one and stays with the primary key.
        q.delivery_id = ANY(
            ARRAY(
                SELECT l.delivery_id
                FROM live AS l
                UNION ALL
                SELECT r.delivery_id
                FROM replayable AS r
                WHERE r.is_taken
            )
        )
        -- Looked at again under the lock: what somebody else has leased since is due when that lease ends. Locking rows
        -- beforehand would write each twice for what hardly happens; asking for the lease itself could make the planner
        -- read all that waits, by the index of what waits.
        AND q.due_at <= now()
    RETURNING
        q.delivery_id,
        q.occurred_at,
        q.event_id,
        q.endpoint_id,
        q.brand_id,
        q.sequence,
        q.trigger,
        q.replay_id,
        q.attempts,
        q.tries,
        q.refusals,
        q.lease_token,
        q.created_at
),

ahead AS MATERIALIZED (
    SELECT
        t.endpoint_id,
        t.profile,
        t.version,
        least(
            (
                SELECT q.due_at
                FROM delivery_queue AS q
                WHERE q.endpoint_id = t.endpoint_id AND q.lane = 0 AND q.lease_token IS NULL AND q.due_at > now()
                ORDER BY q.due_at
                LIMIT 1
            ),
            r.due_at
        ) AS due_at
    FROM turn AS t
    LEFT JOIN (
        SELECT
            p.endpoint_id,
            min(p.due_at) AS due_at
        FROM replayable AS p
        WHERE NOT p.is_taken
        GROUP BY p.endpoint_id
    ) AS r ON t.endpoint_id = r.endpoint_id
)

SELECT
    a.endpoint_id,
    extract(EPOCH FROM a.due_at - now())::float AS next_due_in,
    l.delivery_id AS id,
    l.occurred_at,
    l.event_id,
    a.version AS endpoint_version,
    l.brand_id,
    l.sequence,
    l.trigger,
    l.replay_id,
    l.attempts,
    l.tries,
    l.refusals,
    l.lease_token,
    l.created_at,
    coalesce(
        p.type,
        (
            SELECT d.type
            FROM deliveries AS d
            WHERE
                d.id = l.delivery_id
                AND d.occurred_at = l.occurred_at
                AND d.event_id = l.event_id
                AND d.endpoint_id = l.endpoint_id
                AND d.brand_id = l.brand_id
                AND d.sequence = l.sequence
        )
    ) AS type,
    p.body,
    p.traceparent
FROM ahead AS a
LEFT JOIN leased AS l ON a.endpoint_id = l.endpoint_id
-- Lateral and limited: probed for each row, in the one partition that can have it.
LEFT JOIN LATERAL (
    SELECT
        k.type,
        k.body,
        k.traceparent
    FROM delivery_payloads AS k
    WHERE k.event_id = l.event_id AND k.profile = a.profile AND k.occurred_at = l.occurred_at
    LIMIT 1
) AS p ON TRUE;

-- name: release
-- Give back what was leased and not begun; the attempt that was counted beforehand never was.
UPDATE delivery_queue AS q SET
    attempts = q.attempts - 1,
    lease_token = NULL,
    due_at = now()
FROM (
    SELECT
        w.place,
        r.lease_token
    FROM unnest($1::bigint [], $2::uuid []) AS r (delivery_id, lease_token)
    -- Lateral and limited: each is found by its key, and by nothing else.
    CROSS JOIN LATERAL (
        SELECT k.ctid AS place
        FROM delivery_queue AS k
        WHERE k.delivery_id = r.delivery_id
        LIMIT 1
    ) AS w
) AS h
-- Not by =, which would tempt the planner to go through all that is leased.
WHERE q.ctid = h.place AND q.lease_token IS NOT DISTINCT FROM h.lease_token;
