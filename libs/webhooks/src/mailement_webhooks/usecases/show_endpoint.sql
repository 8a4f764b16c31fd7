-- name: more
-- How an endpoint fares, which keys its secrets are sealed with, and how much waits for it (counted up to a bound).
SELECT
    now() AS at,
    array_remove(ARRAY[e.secret_sealed, e.secret_staged_sealed, e.secret_previous_sealed], NULL) AS sealed,
    h.consecutive_failures,
    h.failure_days,
    h.last_failure_day,
    h.first_failure_at,
    h.last_success_at,
    h.gone_in_a_row,
    h.breaker_trips,
    h.hold_until,
    h.hold_reason,
    h.told,
    h.fresh_starts,
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM delivery_queue AS k
            WHERE
                k.endpoint_id = e.id
                AND k.lease_token IS NULL
                AND (k.sequence > coalesce(e.discard_through, 0) OR k.created_at > e.discard_as_of)
            LIMIT $2::int
        ) AS q
    ) AS waiting,
    (SELECT count(*) FROM delivery_queue AS k WHERE k.endpoint_id = e.id AND k.lease_token IS NOT NULL) AS under_way
FROM webhook_endpoints AS e
LEFT JOIN webhook_endpoint_health AS h ON e.id = h.endpoint_id
WHERE e.id = $1;

-- name: counts
-- How many of an endpoint's newest deliveries are in each state.
SELECT
    d.state,
    count(*) AS deliveries
FROM (
    SELECT k.state
    FROM deliveries AS k
    WHERE k.endpoint_id = $1
    ORDER BY k.sequence DESC
    LIMIT $2::int
) AS d
GROUP BY d.state;

-- name: last_failure
-- The newest delivery of an endpoint that failed for good.
SELECT
    d.id AS delivery_id,
    d.reason,
    d.finished_at,
    a.status_code,
    a.detail
FROM delivery_attempts AS a
CROSS JOIN LATERAL (
    SELECT
        k.id,
        k.reason,
        k.finished_at,
        k.state,
        k.attempts
    FROM deliveries AS k
    WHERE k.id = a.delivery_id AND k.occurred_at = a.occurred_at
    LIMIT 1
) AS d
WHERE
    a.endpoint_id = $1
    AND a.outcome = 'failed'
    AND a.next_attempt_at IS NULL
    AND a.number = d.attempts
    AND d.state = 'failed'
ORDER BY a.delivery_id DESC
LIMIT 1;

-- name: answers_since
-- How many attempts an endpoint's newest deliveries had since a moment, and how many met a refusal of the signature.
SELECT
    count(*) AS attempts,
    count(*) FILTER (WHERE a.status_code IN (401, 403)) AS refused
FROM (
    SELECT
        k.id,
        k.occurred_at
    FROM deliveries AS k
    WHERE k.endpoint_id = $1
    ORDER BY k.sequence DESC
    LIMIT $3::int
) AS d
CROSS JOIN LATERAL (
    SELECT k.status_code
    FROM delivery_attempts AS k
    WHERE k.delivery_id = d.id AND k.occurred_at = d.occurred_at AND k.started_at >= $2
    LIMIT 100
) AS a;
