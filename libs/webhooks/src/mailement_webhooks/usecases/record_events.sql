-- name: record
-- Store the events that an enabled endpoint hears, and one delivery for each that does. A second time changes nothing.
WITH arrived AS (
    SELECT
        r.event_id,
        r.profile,
        r.brand_id,
        r.type,
        r.body,
        r.occurred_at,
        r.traceparent,
        r.place,
        b.account_id
    FROM unnest(
        $1::uuid [], $2::text [], $3::bigint [], $4::text [], $5::bytea [], $6::timestamptz [], $7::text []
    ) WITH ORDINALITY AS r (event_id, profile, brand_id, type, body, occurred_at, traceparent, place)
    INNER JOIN brands AS b ON r.brand_id = b.id AND b.deleted_at IS NULL
),

-- Locked, so that whoever deletes an endpoint waits for this batch and then sees its deliveries.
hearing AS MATERIALIZED (
    SELECT
        e.id,
        e.account_id,
        e.brand_id,
        e.profile,
        e.event_types
    FROM webhook_endpoints AS e
    WHERE
        e.state = 'enabled'
        AND (
            e.brand_id = ANY($3::bigint [])
            OR (e.brand_id IS NULL AND e.account_id = ANY(ARRAY(SELECT a.account_id FROM arrived AS a)))
        )
    ORDER BY e.id
    FOR SHARE
),

matched AS (
    SELECT
        a.event_id,
        a.profile,
        a.brand_id,
        a.type,
        a.body,
        a.occurred_at,
        a.traceparent,
        a.place,
        h.id AS endpoint_id
    FROM arrived AS a
    INNER JOIN hearing AS h
        ON
            a.profile = h.profile
            AND a.account_id = h.account_id
            AND a.brand_id = coalesce(h.brand_id, a.brand_id)
            AND a.type = ANY(h.event_types)
),

stored AS (
    INSERT INTO webhook_events (event_id, profile, brand_id, type, body, occurred_at)
    SELECT
        m.event_id,
        m.profile,
        m.brand_id,
        m.type,
        m.body,
        m.occurred_at
    FROM matched AS m
    ORDER BY m.event_id, m.profile
    ON CONFLICT DO NOTHING
)

INSERT INTO webhook_deliveries (event_id, endpoint_id, brand_id, traceparent)
SELECT
    m.event_id,
    m.endpoint_id,
    m.brand_id,
    m.traceparent
FROM matched AS m
ORDER BY m.place, m.endpoint_id
ON CONFLICT (event_id, endpoint_id) DO NOTHING
RETURNING id;
