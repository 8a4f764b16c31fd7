-- name: newest_of_brand
-- The newest deliveries of a brand, older than a given one.
SELECT
    d.id,
    d.occurred_at,
    d.sequence
FROM deliveries AS d
WHERE
    d.brand_id = $1
    AND ($2::bigint IS NULL OR d.endpoint_id = $2)
    AND d.id < $3
    AND ($4::text IS NULL OR d.state = $4)
    AND ($5::text IS NULL OR d.type = $5)
    AND d.occurred_at >= coalesce($6::timestamptz, '-infinity')
    AND d.occurred_at < coalesce($7::timestamptz, 'infinity')
ORDER BY d.id DESC
LIMIT $8::int;

-- name: newest_of_endpoint
-- The newest deliveries of an endpoint, before a given number of its sequence.
SELECT
    d.id,
    d.occurred_at,
    d.sequence
FROM deliveries AS d
WHERE
    ($1::bigint IS NULL OR d.brand_id = $1)
    AND d.endpoint_id = $2
    AND d.sequence < $3
    AND ($4::text IS NULL OR d.state = $4)
    AND ($5::text IS NULL OR d.type = $5)
    AND d.occurred_at >= coalesce($6::timestamptz, '-infinity')
    AND d.occurred_at < coalesce($7::timestamptz, 'infinity')
ORDER BY d.sequence DESC
LIMIT $8::int;

-- name: failed
-- The newest deliveries that failed for good, endpoint by endpoint through the index of final failures.
WITH hearing AS MATERIALIZED (
    SELECT e.id
    FROM webhook_endpoints AS e
    WHERE
        e.id = $2
        OR (
            $2::bigint IS NULL
            AND (
                e.brand_id = $1
                OR (
                    e.brand_id IS NULL
                    AND e.account_id = (SELECT b.account_id FROM brands AS b WHERE b.id = $1)
                )
            )
        )
)

SELECT
    f.id,
    f.occurred_at,
    f.sequence
FROM hearing AS h
CROSS JOIN LATERAL (
    SELECT
        d.id,
        d.occurred_at,
        d.sequence
    FROM delivery_attempts AS a
    -- With a LIMIT it stays one look at the index, whatever the planner believes.
    CROSS JOIN LATERAL (
        SELECT
            k.id,
            k.occurred_at,
            k.sequence,
            k.brand_id,
            k.state,
            k.type,
            k.attempts
        FROM deliveries AS k
        WHERE k.id = a.delivery_id AND k.occurred_at = a.occurred_at
        LIMIT 1
    ) AS d
    WHERE
        a.endpoint_id = h.id
        AND a.outcome = 'failed'
        AND a.next_attempt_at IS NULL
        AND a.delivery_id < $3
        AND a.occurred_at >= coalesce($6::timestamptz, '-infinity')
        AND a.occurred_at < coalesce($7::timestamptz, 'infinity')
        -- Sent again since: then an earlier failure was not the end.
        AND a.number = d.attempts
        AND d.state = $4
        AND ($1::bigint IS NULL OR d.brand_id = $1)
        AND ($5::text IS NULL OR d.type = $5)
    ORDER BY a.delivery_id DESC
    LIMIT $8::int
) AS f
ORDER BY f.id DESC
LIMIT $8::int;

-- name: waiting
-- What waits in the queue and may be sent, or is held; what comes first is first.
WITH hearing AS MATERIALIZED (
    SELECT
        e.id,
        coalesce(e.discard_through, 0) AS discard_through,
        e.discard_as_of
    FROM webhook_endpoints AS e
    LEFT JOIN webhook_endpoint_health AS h ON e.id = h.endpoint_id
    WHERE
        e.state <> 'deleted'
        AND (e.state <> 'enabled' OR coalesce(h.hold_until > now(), false)) = $4::boolean
        AND (
            e.id = $2
            OR (
                $2::bigint IS NULL
                AND (
                    e.brand_id = $1
                    OR (
                        e.brand_id IS NULL
                        AND e.account_id = (SELECT b.account_id FROM brands AS b WHERE b.id = $1)
                    )
                )
            )
        )
)

SELECT
    w.id,
    w.occurred_at,
    w.lane,
    w.due_at
FROM hearing AS h
CROSS JOIN LATERAL (
    SELECT
        q.delivery_id AS id,
        q.occurred_at,
        q.lane,
        q.due_at
    FROM delivery_queue AS q
    WHERE
        q.endpoint_id = h.id
        AND q.lease_token IS NULL
        AND (q.lane, q.due_at, q.delivery_id) > ($9::smallint, $10::timestamptz, $3)
        AND (q.sequence > h.discard_through OR q.created_at > h.discard_as_of)
        AND ($1::bigint IS NULL OR q.brand_id = $1)
        AND q.occurred_at >= coalesce($6::timestamptz, '-infinity')
        AND q.occurred_at < coalesce($7::timestamptz, 'infinity')
        AND (
            $5::text IS NULL
            OR $5 = (
                SELECT d.type FROM deliveries AS d WHERE d.id = q.delivery_id AND d.occurred_at = q.occurred_at
            )
        )
    ORDER BY q.lane, q.due_at, q.delivery_id
    LIMIT $8::int
) AS w
ORDER BY w.lane, w.due_at, w.id
LIMIT $8::int;

-- name: leased
-- What is being sent; the lease that ends first is first.
SELECT
    q.delivery_id AS id,
    q.occurred_at,
    q.lane,
    q.due_at
FROM delivery_queue AS q
WHERE
    q.lease_token IS NOT NULL
    AND ($1::bigint IS NULL OR q.brand_id = $1)
    AND ($2::bigint IS NULL OR q.endpoint_id = $2)
    AND (q.due_at, q.delivery_id) > ($8::timestamptz, $3)
    AND q.occurred_at >= coalesce($5::timestamptz, '-infinity')
    AND q.occurred_at < coalesce($6::timestamptz, 'infinity')
    AND (
        $4::text IS NULL
        OR $4 = (SELECT d.type FROM deliveries AS d WHERE d.id = q.delivery_id AND d.occurred_at = q.occurred_at)
    )
ORDER BY q.due_at, q.delivery_id
LIMIT $7::int;

-- name: rows
-- Deliveries by their keys, in the order in which they are named.
SELECT
    d.id,
    d.event_id,
    d.endpoint_id,
    d.brand_id,
    d.sequence,
    d.type,
    d.state,
    d.reason,
    d.attempts,
    d.occurred_at,
    d.created_at,
    d.finished_at,
    e.state AS endpoint_state,
    e.discard_reason,
    coalesce(q.sequence <= e.discard_through AND q.created_at <= e.discard_as_of, false) AS discarding,
    coalesce(h.hold_until > now(), false) AS resting,
    q.lease_token IS NOT NULL AS leased,
    q.attempts AS attempts_so_far,
    q.due_at
FROM unnest($1::bigint [], $2::timestamptz []) WITH ORDINALITY AS r (id, occurred_at, place)
-- With a LIMIT each stays one look at an index, whatever the planner believes.
CROSS JOIN LATERAL (
    SELECT
        k.id,
        k.event_id,
        k.endpoint_id,
        k.brand_id,
        k.sequence,
        k.type,
        k.state,
        k.reason,
        k.attempts,
        k.occurred_at,
        k.created_at,
        k.finished_at
    FROM deliveries AS k
    WHERE k.id = r.id AND k.occurred_at = r.occurred_at
    LIMIT 1
) AS d
INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
LEFT JOIN webhook_endpoint_health AS h ON d.endpoint_id = h.endpoint_id
LEFT JOIN LATERAL (
    SELECT
        k.sequence,
        k.lease_token,
        k.attempts,
        k.created_at,
        k.due_at
    FROM delivery_queue AS k
    WHERE k.delivery_id = d.id
    LIMIT 1
) AS q ON true
ORDER BY r.place;
