-- name: record
-- Store the events that an endpoint hears and a delivery for each that does; whoever comes with a copy stores nothing.
WITH arrived AS MATERIALIZED (
    SELECT DISTINCT ON (r.event_id, r.profile)
        r.event_id,
        r.profile,
        r.brand_id,
        r.type,
        r.body,
        r.occurred_at,
        r.order_key,
        r.about_endpoint,
        r.traceparent,
        r.place,
        b.account_id
    FROM unnest(
        $1::uuid [],
        $2::text [],
        $3::bigint [],
        $4::text [],
        $5::bytea [],
        $6::timestamptz [],
        $7::bigint [],
        $8::bigint [],
        $9::text []
    ) WITH ORDINALITY AS r (
        event_id, profile, brand_id, type, body, occurred_at, order_key, about_endpoint, traceparent, place
    )
    -- Lateral and limited: probed for each event, however many brands there are.
    CROSS JOIN LATERAL (
        SELECT k.account_id
        FROM brands AS k
        WHERE k.id = r.brand_id AND k.deleted_at IS NULL
        LIMIT 1
    ) AS b
    ORDER BY r.event_id, r.profile, r.place
),

-- Who hears is looked up for each event: two probes, however many endpoints there are.
matched AS MATERIALIZED (
    SELECT
        a.event_id,
        a.profile,
        a.brand_id,
        a.type,
        a.occurred_at,
        a.place,
        CASE WHEN h.ordered THEN a.order_key END AS order_key,
        h.id AS endpoint_id
    FROM arrived AS a
    CROSS JOIN LATERAL (
        SELECT
            e.id,
            e.profile,
            e.event_types,
            e.ordered
        FROM webhook_endpoints AS e
        WHERE e.state <> 'deleted' AND e.brand_id = a.brand_id AND e.account_id = a.account_id
        UNION ALL
        SELECT
            w.id,
            w.profile,
            w.event_types,
            w.ordered
        FROM webhook_endpoints AS w
        WHERE w.state <> 'deleted' AND w.brand_id IS NULL AND w.account_id = a.account_id
    ) AS h
    WHERE a.profile = h.profile AND a.type = ANY(h.event_types) AND a.about_endpoint IS DISTINCT FROM h.id
),

-- The gate: of all who bring an event, one stores its bytes, and nobody else makes deliveries of it.
-- In order of the key, so that two who bring the same events do not wait for each other.
stored AS (
    INSERT INTO delivery_payloads (event_id, profile, occurred_at, brand_id, type, body, traceparent)
    SELECT
        a.event_id,
        a.profile,
        a.occurred_at,
        a.brand_id,
        a.type,
        a.body,
        a.traceparent
    FROM arrived AS a
    -- IS TRUE keeps it from becoming a join, which would compare each with each: the planner expects few.
    WHERE ((a.event_id, a.profile) IN (SELECT m.event_id, m.profile FROM matched AS m)) IS TRUE
    ORDER BY a.event_id, a.profile
    ON CONFLICT DO NOTHING
    RETURNING event_id, profile
),

fresh AS MATERIALIZED (
    SELECT
        m.event_id,
        m.endpoint_id,
        m.brand_id,
        m.type,
        m.occurred_at,
        m.order_key,
        m.place,
        row_number() OVER (PARTITION BY m.endpoint_id ORDER BY m.place) AS nth,
        count(*) OVER (PARTITION BY m.endpoint_id) AS many
    FROM matched AS m
    WHERE ((m.event_id, m.profile) IN (SELECT s.event_id, s.profile FROM stored AS s)) IS TRUE
),

-- Held until the commit: what has the lower number is seen first.
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
        o.order_key,
        o.sequence
    FROM (
        SELECT
            f.event_id,
            f.endpoint_id,
            f.brand_id,
            f.type,
            f.occurred_at,
            f.order_key,
            n.last - f.many + f.nth AS sequence
        FROM fresh AS f
        INNER JOIN numbers AS n ON f.endpoint_id = n.endpoint_id
        ORDER BY f.place, f.endpoint_id
    ) AS o
),

written AS (
    INSERT INTO deliveries (id, occurred_at, event_id, endpoint_id, brand_id, sequence, type)
    SELECT
        m.id,
        m.occurred_at,
        m.event_id,
        m.endpoint_id,
        m.brand_id,
        m.sequence,
        m.type
    FROM made AS m
)

INSERT INTO delivery_queue (delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence, order_key)
SELECT
    m.id,
    m.occurred_at,
    m.event_id,
    m.endpoint_id,
    m.brand_id,
    m.sequence,
    m.order_key
FROM made AS m
RETURNING endpoint_id;
