-- name: facts
-- All that can stand between a delivery and its endpoint.
SELECT
    now() AS at,
    d.id,
    d.occurred_at,
    e.brand_id IS NULL AS account_wide,
    e.state AS endpoint_state,
    e.state_reason,
    e.state_changed_at,
    e.retries,
    e.rate_per_second,
    coalesce(h.consecutive_failures, 0) AS consecutive_failures,
    h.hold_until,
    h.hold_reason,
    q.delivery_id IS NOT NULL AS waits,
    q.due_at,
    q.created_at AS queued_at,
    q.leased_at,
    q.tries,
    q.refusals,
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM delivery_queue AS k
            WHERE
                k.endpoint_id = q.endpoint_id
                AND k.lane = q.lane
                AND k.lease_token IS NULL
                AND (k.due_at, k.delivery_id) < (q.due_at, q.delivery_id)
                AND k.due_at <= now()
            UNION ALL
            SELECT
            FROM delivery_queue AS k
            WHERE
                k.endpoint_id = q.endpoint_id
                AND k.lane < q.lane
                AND k.lease_token IS NULL
                AND k.due_at <= now()
            LIMIT $3::int
        ) AS a
    ) AS ahead,
    (
        SELECT count(*)
        FROM delivery_queue AS k
        WHERE k.lease_token IS NOT NULL AND k.endpoint_id = q.endpoint_id
    ) AS under_way,
    (
        SELECT k.delivery_id
        FROM delivery_queue AS k
        WHERE k.endpoint_id = q.endpoint_id AND k.order_key = q.order_key AND k.sequence < q.sequence
        ORDER BY k.sequence
        LIMIT 1
    ) AS earlier_id,
    coalesce(p.body IS NOT NULL, false) AS has_payload,
    a.reason AS failure_reason,
    a.detail AS failure_detail,
    a.status_code AS failure_status_code,
    a.started_at AS failed_at
FROM deliveries AS d
INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
LEFT JOIN webhook_endpoint_health AS h ON d.endpoint_id = h.endpoint_id
LEFT JOIN delivery_queue AS q ON d.id = q.delivery_id
LEFT JOIN delivery_payloads AS p
    ON d.event_id = p.event_id AND e.profile = p.profile AND d.occurred_at = p.occurred_at
LEFT JOIN LATERAL (
    SELECT
        k.reason,
        k.detail,
        k.status_code,
        k.started_at
    FROM delivery_attempts AS k
    WHERE k.delivery_id = d.id AND k.occurred_at = d.occurred_at AND k.outcome <> 'delivered'
    ORDER BY k.number DESC
    LIMIT 1
) AS a ON true
WHERE d.id = $1 AND ($2::bigint IS NULL OR d.brand_id = $2);
