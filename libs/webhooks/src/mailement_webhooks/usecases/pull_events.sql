-- name: pull
-- What an endpoint was sent, or will be, after a number of its sequence.
SELECT
    d.sequence,
    d.id AS delivery_id,
    d.event_id,
    d.type,
    d.occurred_at,
    d.state,
    d.reason,
    d.finished_at,
    e.state AS endpoint_state,
    e.discard_reason,
    coalesce(q.sequence <= e.discard_through AND q.created_at <= e.discard_as_of, false) AS discarding,
    coalesce(h.hold_until > now(), false) AS resting,
    q.lease_token IS NOT NULL AS leased,
    p.body
FROM (
    SELECT
        k.sequence,
        k.id,
        k.event_id,
        k.endpoint_id,
        k.type,
        k.occurred_at,
        k.state,
        k.reason,
        k.finished_at
    FROM deliveries AS k
    WHERE k.endpoint_id = $1 AND k.sequence > $2
    ORDER BY k.sequence
    LIMIT $3::int
) AS d
INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
LEFT JOIN webhook_endpoint_health AS h ON d.endpoint_id = h.endpoint_id
-- With a LIMIT each stays one look at an index, whatever the planner believes.
LEFT JOIN LATERAL (
    SELECT
        k.sequence,
        k.created_at,
        k.lease_token
    FROM delivery_queue AS k
    WHERE k.delivery_id = d.id
    LIMIT 1
) AS q ON true
LEFT JOIN LATERAL (
    SELECT k.body
    FROM delivery_payloads AS k
    WHERE k.event_id = d.event_id AND k.profile = e.profile AND k.occurred_at = d.occurred_at
    LIMIT 1
) AS p ON true
ORDER BY d.sequence;

-- name: last
-- The last number that the endpoint's deliveries were given.
SELECT s.last
FROM webhook_endpoint_sequences AS s
WHERE s.endpoint_id = $1;
