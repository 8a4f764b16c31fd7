-- name: counts
-- How many deliveries of an endpoint are in each state.
SELECT
    d.state,
    count(*) AS deliveries
FROM webhook_endpoints AS e
INNER JOIN brands AS b ON e.brand_id = b.id OR (e.brand_id IS NULL AND e.account_id = b.account_id)
INNER JOIN webhook_deliveries AS d ON b.id = d.brand_id AND e.id = d.endpoint_id
WHERE e.id = $1
GROUP BY d.state;

-- name: last_failure
-- The newest attempt of an endpoint that failed.
SELECT
    d.id AS delivery_id,
    d.reason,
    d.finished_at,
    a.status_code,
    a.detail
FROM webhook_endpoints AS e
INNER JOIN brands AS b ON e.brand_id = b.id OR (e.brand_id IS NULL AND e.account_id = b.account_id)
INNER JOIN webhook_deliveries AS d ON b.id = d.brand_id AND e.id = d.endpoint_id AND d.state = 'failed'
LEFT JOIN webhook_attempts AS a ON d.id = a.delivery_id AND d.attempts = a.number
WHERE e.id = $1
ORDER BY d.finished_at DESC, d.id DESC
LIMIT 1;
