-- name: take
-- Lock what the previous release has waiting, and store the bytes: from here on nobody else makes deliveries of them.
WITH pending AS MATERIALIZED (
    SELECT d.id
    FROM webhook_deliveries AS d
    WHERE d.state = 'pending'
    LIMIT $1::int
    FOR UPDATE SKIP LOCKED
),

-- Its own reaper goes first, if it still runs.
expired AS MATERIALIZED (
    SELECT d.id
    FROM webhook_deliveries AS d
    WHERE d.state = 'leased' AND d.lease_until < now() - interval '5 seconds'
    LIMIT $1::int
    FOR UPDATE SKIP LOCKED
),

waiting AS MATERIALIZED (
    SELECT
        d.id,
        d.traceparent,
        v.event_id,
        v.profile,
        v.occurred_at,
        v.brand_id,
        v.type,
        v.body,
        v.created_at
    FROM (
        SELECT p.id
        FROM pending AS p
        UNION ALL
        SELECT x.id
        FROM expired AS x
        LIMIT $1::int
    ) AS w
    INNER JOIN webhook_deliveries AS d ON w.id = d.id
    INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
    INNER JOIN webhook_events AS v ON d.event_id = v.event_id AND e.profile = v.profile
),

stored AS (
    INSERT INTO delivery_payloads (event_id, profile, occurred_at, brand_id, type, body, traceparent, created_at)
    SELECT DISTINCT ON (w.event_id, w.profile)
        w.event_id,
        w.profile,
        w.occurred_at,
        w.brand_id,
        w.type,
        w.body,
        w.traceparent,
        w.created_at
    FROM waiting AS w
    ORDER BY w.event_id, w.profile
    ON CONFLICT DO NOTHING
)

SELECT w.id
FROM waiting AS w;

-- name: move
-- Put what waits in the old table into queue and ledger, unless a copy of the event has made the same.
WITH taken AS (
    DELETE FROM webhook_deliveries AS d
    WHERE d.id = ANY($1::bigint [])
    RETURNING d.id, d.event_id, d.endpoint_id, d.brand_id, d.created_at
),

fresh AS MATERIALIZED (
    SELECT
        t.id,
        t.event_id,
        t.endpoint_id,
        t.brand_id,
        t.created_at,
        v.occurred_at,
        v.type,
        e.state = 'deleted' AS is_deleted,
        row_number() OVER (PARTITION BY t.endpoint_id ORDER BY t.id) AS nth
    FROM taken AS t
    INNER JOIN webhook_endpoints AS e ON t.endpoint_id = e.id
    INNER JOIN webhook_events AS v ON t.event_id = v.event_id AND e.profile = v.profile
    WHERE NOT EXISTS (
        SELECT
        FROM deliveries AS k
        WHERE k.event_id = t.event_id AND k.endpoint_id = t.endpoint_id AND k.occurred_at = v.occurred_at
    )
),

numbers AS (
    INSERT INTO webhook_endpoint_sequences AS n (endpoint_id, last)
    SELECT
        f.endpoint_id,
        max(f.nth)
    FROM fresh AS f
    GROUP BY f.endpoint_id
    ORDER BY f.endpoint_id
    ON CONFLICT (endpoint_id) DO UPDATE SET last = n.last + excluded.last
    RETURNING n.endpoint_id, n.last
),

made AS MATERIALIZED (
    SELECT
        nextval('deliveries_id_seq') AS id,
        o.event_id,
        o.endpoint_id,
        o.brand_id,
        o.type,
        o.occurred_at,
        o.created_at,
        o.is_deleted,
        o.sequence
    FROM (
        SELECT
            f.event_id,
            f.endpoint_id,
            f.brand_id,
            f.type,
            f.occurred_at,
            f.created_at,
            f.is_deleted,
            n.last - max(f.nth) OVER (PARTITION BY f.endpoint_id) + f.nth AS sequence
        FROM fresh AS f
        INNER JOIN numbers AS n ON f.endpoint_id = n.endpoint_id
        ORDER BY f.id
    ) AS o
),

written AS (
    INSERT INTO deliveries (
        id, occurred_at, event_id, endpoint_id, brand_id, sequence, type, state, reason, created_at, finished_at
    )
    SELECT
        m.id,
        m.occurred_at,
        m.event_id,
        m.endpoint_id,
        m.brand_id,
        m.sequence,
        m.type,
        CASE WHEN m.is_deleted THEN 'discarded' ELSE 'pending' END,
        CASE WHEN m.is_deleted THEN 'endpoint_deleted' END,
        m.created_at,
        CASE WHEN m.is_deleted THEN now() END
    FROM made AS m
)

INSERT INTO delivery_queue (delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence, created_at)
SELECT
    m.id,
    m.occurred_at,
    m.event_id,
    m.endpoint_id,
    m.brand_id,
    m.sequence,
    m.created_at
FROM made AS m
WHERE NOT m.is_deleted;
