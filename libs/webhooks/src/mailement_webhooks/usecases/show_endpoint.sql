-- name: counts
-- How many of a brand's newest deliveries are in each state, for one endpoint.
SELECT
    d.state,
    count(*) AS deliveries
FROM (
    SELECT
        k.endpoint_id,
        k.state
    FROM webhook_deliveries AS k
    WHERE k.brand_id = $2
    ORDER BY k.id DESC
    LIMIT $3
) AS d
WHERE d.endpoint_id = $1
GROUP BY d.state;

-- name: last_failure
-- The newest attempt of an endpoint that failed.
SELECT
    d.id AS delivery_id,
    d.reason,
    d.finished_at,
    a.status_code,
    a.detail
FROM webhook_deliveries AS d
LEFT JOIN webhook_attempts AS a ON d.id = a.delivery_id AND d.attempts = a.number
WHERE d.brand_id = $2 AND d.endpoint_id = $1 AND d.state = 'failed'
ORDER BY d.id DESC
LIMIT 1;
