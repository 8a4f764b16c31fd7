-- name: key
-- Where a delivery stands in the ledger, and its endpoint's share in what may be shown of it.
SELECT
    d.id,
    d.occurred_at,
    p.body,
    e.profile,
    e.brand_id IS NULL AS account_wide
FROM deliveries AS d
INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
LEFT JOIN delivery_payloads AS p
    ON d.event_id = p.event_id AND e.profile = p.profile AND d.occurred_at = p.occurred_at
WHERE d.id = $1 AND ($2::bigint IS NULL OR d.brand_id = $2);

-- name: attempts
-- The newest tries of a delivery, the newest first.
SELECT
    a.number,
    a.trigger,
    a.outcome,
    a.reason,
    a.detail,
    a.status_code,
    a.request_head,
    a.response_head,
    a.response_body,
    a.started_at,
    a.duration_ms,
    a.dns_ms,
    a.connect_ms,
    a.tls_ms,
    a.first_byte_ms,
    a.body_ms,
    a.next_attempt_at
FROM delivery_attempts AS a
WHERE a.delivery_id = $1 AND a.occurred_at = $2
ORDER BY a.number DESC
LIMIT $3::int;
