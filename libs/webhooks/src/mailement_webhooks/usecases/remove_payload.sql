-- name: remove
-- Forget what a delivery carried, and what was exchanged about it: for all endpoints that got the same bytes.
WITH payload AS (
    SELECT
        d.event_id,
        d.occurred_at,
        e.profile
    FROM deliveries AS d
    INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
    WHERE d.id = $1 AND ($2::bigint IS NULL OR d.brand_id = $2)
),

emptied AS (
    UPDATE delivery_payloads AS p SET body = NULL
    FROM payload AS k
    WHERE p.event_id = k.event_id AND p.profile = k.profile AND p.occurred_at = k.occurred_at AND p.body IS NOT NULL
),

sharing AS (
    SELECT
        d.id,
        d.occurred_at
    FROM payload AS k
    INNER JOIN deliveries AS d ON k.event_id = d.event_id AND k.occurred_at = d.occurred_at
    INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id AND k.profile = e.profile
),

forgotten AS (
    UPDATE delivery_attempts AS a SET
        request_head = NULL,
        response_head = NULL,
        response_body = NULL
    FROM sharing AS s
    WHERE a.delivery_id = s.id AND a.occurred_at = s.occurred_at
)

SELECT
    k.event_id,
    ARRAY(SELECT s.id FROM sharing AS s ORDER BY s.id) AS delivery_ids
FROM payload AS k;
