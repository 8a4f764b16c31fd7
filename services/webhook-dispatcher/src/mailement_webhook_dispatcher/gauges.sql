-- name: waiting
-- What stands in the queue, and why it does not go. At most 100,000 are counted: what is more is as alarming.
SELECT
    count(*) AS pending,
    count(*) FILTER (WHERE q.held) AS held,
    count(*) FILTER (WHERE NOT q.held AND NOT q.leased AND q.due_at < now() - interval '1 minute') AS past_due
FROM (
    SELECT
        d.due_at,
        d.lease_token IS NOT NULL AS leased,
        e.state <> 'enabled' OR coalesce(h.hold_until > now(), false) AS held
    FROM (
        SELECT
            w.endpoint_id,
            w.due_at,
            w.lease_token
        FROM delivery_queue AS w
        LIMIT 100000 -- noqa: AM09
    ) AS d
    INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
    LEFT JOIN webhook_endpoint_health AS h ON d.endpoint_id = h.endpoint_id
) AS q;

-- name: missing
-- Of the latest 10,000 deliveries: those that wait in no queue, and endpoints that should have had the event too.
WITH recent AS MATERIALIZED (
    SELECT
        d.id,
        d.occurred_at,
        d.event_id,
        d.endpoint_id,
        d.brand_id,
        d.state,
        d.type,
        d.created_at
    FROM deliveries AS d
    WHERE d.id > (SELECT max(k.id) FROM deliveries AS k) - 10000 AND d.created_at > now() - interval '15 minutes'
),

unqueued AS (
    SELECT r.id
    FROM recent AS r
    WHERE
        r.state = 'pending'
        AND NOT EXISTS (SELECT FROM delivery_queue AS q WHERE q.delivery_id = r.id)
),

event AS (
    SELECT DISTINCT
        r.event_id,
        r.occurred_at,
        r.brand_id,
        r.type,
        e.profile,
        r.created_at
    FROM recent AS r
    INNER JOIN webhook_endpoints AS e ON r.endpoint_id = e.id
    -- Those of our own go to all endpoints but the one that they speak of.
    WHERE r.type NOT LIKE 'endpoint.%' AND r.type NOT LIKE 'delivery.%'
),

unheard AS (
    SELECT
        v.event_id,
        e.id
    FROM event AS v
    INNER JOIN brands AS b ON v.brand_id = b.id
    INNER JOIN webhook_endpoints AS e
        ON
            v.profile = e.profile
            AND b.account_id = e.account_id
            AND (e.brand_id IS NULL OR e.brand_id = v.brand_id)
            AND v.type = ANY(e.event_types)
    WHERE
        e.state <> 'deleted'
        -- One that was changed meanwhile may have been deaf to it.
        AND greatest(e.created_at, e.updated_at, e.state_changed_at) < v.created_at - interval '1 minute'
        AND NOT EXISTS (
            SELECT
            FROM deliveries AS d
            WHERE d.event_id = v.event_id AND d.endpoint_id = e.id AND d.occurred_at = v.occurred_at
        )
)

SELECT (SELECT count(*) FROM unqueued) + (SELECT count(*) FROM unheard) AS missing;
