-- name: of_brand
-- Of so many of a brand's newest messages, before a given one, those that are wanted. If all are, no more than these are read.
-- A range and not an equality on the brand: it leaves the planner no other index to walk backwards through.
SELECT l.id
FROM (
    SELECT
        m.brand_id,
        m.id,
        m.state,
        m.kind,
        m.drip_id
    FROM messages AS m
    WHERE (m.brand_id, m.id) < ($1::bigint, $2::bigint) AND m.brand_id >= $1
    ORDER BY m.brand_id DESC, m.id DESC
    LIMIT $3::int
) AS l
WHERE
    ($5::text IS NULL OR l.state = $5)
    AND ($6::text IS NULL OR l.kind = $6)
    AND ($7::bigint IS NULL OR l.drip_id = $7)
ORDER BY l.brand_id DESC, l.id DESC
LIMIT $4::int;

-- name: end_of_brand
-- The last of so many, if there are so many.
SELECT m.id
FROM messages AS m
WHERE (m.brand_id, m.id) < ($1::bigint, $2::bigint) AND m.brand_id >= $1
ORDER BY m.brand_id DESC, m.id DESC
LIMIT 1 OFFSET $3::int - 1;

-- name: of_subscriber
-- The same among one subscriber's messages.
SELECT l.id
FROM (
    SELECT
        m.subscriber_id,
        m.id,
        m.brand_id,
        m.state,
        m.kind,
        m.drip_id
    FROM messages AS m
    WHERE (m.subscriber_id, m.id) < ($1::bigint, $2::bigint) AND m.subscriber_id >= $1
    ORDER BY m.subscriber_id DESC, m.id DESC
    LIMIT $3::int
) AS l
WHERE
    l.brand_id = $8::bigint
    AND ($5::text IS NULL OR l.state = $5)
    AND ($6::text IS NULL OR l.kind = $6)
    AND ($7::bigint IS NULL OR l.drip_id = $7)
ORDER BY l.subscriber_id DESC, l.id DESC
LIMIT $4::int;

-- name: end_of_subscriber
-- The last of so many, if there are so many.
SELECT m.id
FROM messages AS m
WHERE (m.subscriber_id, m.id) < ($1::bigint, $2::bigint) AND m.subscriber_id >= $1
ORDER BY m.subscriber_id DESC, m.id DESC
LIMIT 1 OFFSET $3::int - 1;

-- name: in_trouble
-- The same among a brand's failed and uncertain messages, which have an index of their own.
SELECT l.id
FROM (
    SELECT
        m.brand_id,
        m.id,
        m.state,
        m.kind,
        m.drip_id
    FROM messages AS m
    WHERE
        m.state IN ('failed', 'uncertain')
        AND (m.brand_id, m.id) < ($1::bigint, $2::bigint)
        AND m.brand_id >= $1
    ORDER BY m.brand_id DESC, m.id DESC
    LIMIT $3::int
) AS l
WHERE
    l.state = $5::text
    AND ($6::text IS NULL OR l.kind = $6)
    AND ($7::bigint IS NULL OR l.drip_id = $7)
ORDER BY l.brand_id DESC, l.id DESC
LIMIT $4::int;

-- name: end_of_trouble
-- The last of so many, if there are so many.
SELECT m.id
FROM messages AS m
WHERE
    m.state IN ('failed', 'uncertain')
    AND (m.brand_id, m.id) < ($1::bigint, $2::bigint)
    AND m.brand_id >= $1
ORDER BY m.brand_id DESC, m.id DESC
LIMIT 1 OFFSET $3::int - 1;
