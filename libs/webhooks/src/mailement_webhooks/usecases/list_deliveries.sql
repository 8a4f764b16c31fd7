-- name: hearing
-- The endpoints that a brand's deliveries can be for, or the one that is asked for if it is among them.
SELECT
    e.id,
    e.state = 'deleted' AS is_deleted,
    e.state <> 'enabled' OR coalesce(h.hold_until > now(), false) AS is_held
FROM webhook_endpoints AS e
LEFT JOIN webhook_endpoint_health AS h ON e.id = h.endpoint_id
WHERE
    ($2::bigint IS NULL OR e.id = $2)
    AND (
        $1::bigint IS NULL
        OR e.brand_id = $1
        OR (e.brand_id IS NULL AND e.account_id = (SELECT b.account_id FROM brands AS b WHERE b.id = $1))
    )
ORDER BY e.id;

-- name: newest_of_brand
-- Of so many of a brand's newest deliveries, older than a given one, those that are wanted.
SELECT
    d.id,
    d.occurred_at,
    d.sequence
FROM (
    SELECT
        k.id,
        k.occurred_at,
        k.sequence,
        k.state,
        k.type
    FROM deliveries AS k
    -- Whole months: they leave out parts of the table and no row of the others, which would be passed by uncounted.
    WHERE k.brand_id = $1 AND k.id < $2 AND k.occurred_at >= $8 AND k.occurred_at < $9
    ORDER BY k.id DESC
    LIMIT $10::int
) AS d
WHERE
    ($3::text IS NULL OR d.state = $3)
    AND ($4::text IS NULL OR d.type = $4)
    AND d.occurred_at >= coalesce($5::timestamptz, '-infinity')
    AND d.occurred_at < coalesce($6::timestamptz, 'infinity')
ORDER BY d.id DESC
LIMIT $7::int;

-- name: end_of_brand
-- The last of so many, if there are so many.
SELECT
    k.id,
    k.sequence
FROM deliveries AS k
WHERE k.brand_id = $1 AND k.id < $2 AND k.occurred_at >= $3 AND k.occurred_at < $4
ORDER BY k.id DESC
LIMIT 1 OFFSET $5::int - 1;

-- name: newest_of_endpoint
-- Of so many of an endpoint's newest deliveries, before a given number of its sequence, those that are wanted.
SELECT
    d.id,
    d.occurred_at,
    d.sequence
FROM (
    SELECT
        k.id,
        k.occurred_at,
        k.sequence,
        k.brand_id,
        k.state,
        k.type
    FROM deliveries AS k
    WHERE k.endpoint_id = $1 AND k.sequence < $2 AND k.occurred_at >= $8 AND k.occurred_at < $9
    ORDER BY k.sequence DESC
    LIMIT $10::int
) AS d
WHERE
    ($3::text IS NULL OR d.state = $3)
    AND ($4::text IS NULL OR d.type = $4)
    AND d.occurred_at >= coalesce($5::timestamptz, '-infinity')
    AND d.occurred_at < coalesce($6::timestamptz, 'infinity')
    AND ($11::bigint IS NULL OR d.brand_id = $11)
ORDER BY d.sequence DESC
LIMIT $7::int;

-- name: end_of_endpoint
-- The last of so many, if there are so many.
SELECT
    k.id,
    k.sequence
FROM deliveries AS k
WHERE k.endpoint_id = $1 AND k.sequence < $2 AND k.occurred_at >= $3 AND k.occurred_at < $4
ORDER BY k.sequence DESC
LIMIT 1 OFFSET $5::int - 1;

-- name: failed
-- Of so many of each endpoint's newest final failures, before a given delivery, those that are wanted.
SELECT
    f.id,
    f.occurred_at,
    f.sequence
FROM unnest($1::bigint []) AS h (id)
CROSS JOIN LATERAL (
    SELECT
        d.id,
        d.occurred_at,
        d.sequence
    FROM (
        SELECT
            k.delivery_id,
            k.occurred_at,
            k.number
        FROM delivery_attempts AS k
        WHERE
            k.endpoint_id = h.id
            AND k.outcome = 'failed'
            AND k.next_attempt_at IS NULL
            AND k.delivery_id < $2
            AND k.occurred_at >= $7
            AND k.occurred_at < $8
        ORDER BY k.delivery_id DESC
        LIMIT $9::int
    ) AS a
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
        -- Sent again since: then an earlier failure was not the end.
        a.number = d.attempts
        AND d.state = 'failed'
        AND ($3::text IS NULL OR d.type = $3)
        AND d.occurred_at >= coalesce($4::timestamptz, '-infinity')
        AND d.occurred_at < coalesce($5::timestamptz, 'infinity')
        AND ($10::bigint IS NULL OR d.brand_id = $10)
    ORDER BY d.id DESC
    LIMIT $6::int
) AS f
ORDER BY f.id DESC
LIMIT $6::int;

-- name: ends_of_failed
-- The last of so many of each endpoint that has so many.
SELECT a.delivery_id AS id
FROM unnest($1::bigint []) AS h (id)
CROSS JOIN LATERAL (
    SELECT k.delivery_id
    FROM delivery_attempts AS k
    WHERE
        k.endpoint_id = h.id
        AND k.outcome = 'failed'
        AND k.next_attempt_at IS NULL
        AND k.delivery_id < $2
        AND k.occurred_at >= $3
        AND k.occurred_at < $4
    ORDER BY k.delivery_id DESC
    LIMIT 1 OFFSET $5::int - 1
) AS a;

-- name: waiting
-- Of so many that wait for each endpoint, behind a given place, those that are wanted; what comes first is first.
SELECT
    w.id,
    w.occurred_at,
    w.lane,
    w.due_at
FROM unnest($1::bigint []) AS h (id)
INNER JOIN webhook_endpoints AS e ON h.id = e.id
CROSS JOIN LATERAL (
    SELECT
        q.id,
        q.occurred_at,
        q.lane,
        q.due_at
    FROM (
        SELECT
            k.delivery_id AS id,
            k.occurred_at,
            k.lane,
            k.due_at,
            k.sequence,
            k.created_at,
            k.brand_id
        FROM delivery_queue AS k
        WHERE
            k.endpoint_id = h.id
            AND k.lease_token IS NULL
            AND (k.lane, k.due_at, k.delivery_id) > ($2::smallint, $3::timestamptz, $4::bigint)
        ORDER BY k.lane, k.due_at, k.delivery_id
        LIMIT $9::int
    ) AS q
    WHERE
        (q.sequence > coalesce(e.discard_through, 0) OR q.created_at > e.discard_as_of)
        AND q.occurred_at >= coalesce($6::timestamptz, '-infinity')
        AND q.occurred_at < coalesce($7::timestamptz, 'infinity')
        AND ($10::bigint IS NULL OR q.brand_id = $10)
        AND (
            $5::text IS NULL
            OR $5 = (SELECT d.type FROM deliveries AS d WHERE d.id = q.id AND d.occurred_at = q.occurred_at)
        )
    ORDER BY q.lane, q.due_at, q.id
    LIMIT $8::int
) AS w
ORDER BY w.lane, w.due_at, w.id
LIMIT $8::int;

-- name: ends_of_waiting
-- The last of so many of each endpoint that has so many.
SELECT
    w.id,
    w.lane,
    w.due_at
FROM unnest($1::bigint []) AS h (id)
CROSS JOIN LATERAL (
    SELECT
        k.delivery_id AS id,
        k.lane,
        k.due_at
    FROM delivery_queue AS k
    WHERE
        k.endpoint_id = h.id
        AND k.lease_token IS NULL
        AND (k.lane, k.due_at, k.delivery_id) > ($2::smallint, $3::timestamptz, $4::bigint)
    ORDER BY k.lane, k.due_at, k.delivery_id
    LIMIT 1 OFFSET $5::int - 1
) AS w;

-- name: leased
-- What is being sent; the lease that ends first is first. There are never more leases than dispatchers have slots.
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
