-- name: of_brand
-- Of so many of a brand's newest messages, before a given one, those that are wanted; and where looking ended.
-- A range and not an equality on the brand: it leaves the planner no other index to walk backwards through.
WITH looked AS MATERIALIZED (
    SELECT m.*
    FROM messages AS m
    WHERE (m.brand_id, m.id) < ($1, $2::bigint) AND m.brand_id >= $1
    ORDER BY m.brand_id DESC, m.id DESC
    LIMIT $3
)

SELECT
    e.looked,
    e.last_id,
    w.*
FROM (SELECT count(*)::int AS looked, min(k.id) AS last_id FROM looked AS k) AS e
LEFT JOIN LATERAL (
    SELECT
        l.id,
        l.brand_id,
        l.subscriber_id,
        l.kind,
        l.lane,
        l.drip_id,
        l.drip_step_id,
        l.enrollment_id,
        l.state,
        l.error,
        l.attempts,
        l.provider,
        l.provider_message_id,
        l.sender_id,
        l.mail_account_id,
        l.not_before,
        l.created_at,
        l.first_attempt_at,
        l.finished_at,
        l.opened_at,
        l.clicked_at,
        l.machine_opened_at,
        l.payload ->> 'subject' AS subject
    FROM looked AS l
    WHERE
        ($5::text IS NULL OR l.state = $5)
        AND ($6::text IS NULL OR l.kind = $6)
        AND ($7::bigint IS NULL OR l.drip_id = $7)
    ORDER BY l.id DESC
    LIMIT $4
) AS w ON true
ORDER BY w.id DESC;

-- name: of_subscriber
-- The same among one subscriber's messages.
WITH looked AS MATERIALIZED (
    SELECT m.*
    FROM messages AS m
    WHERE (m.subscriber_id, m.id) < ($8::bigint, $2::bigint) AND m.subscriber_id >= $8::bigint
    ORDER BY m.subscriber_id DESC, m.id DESC
    LIMIT $3
)

SELECT
    e.looked,
    e.last_id,
    w.*
FROM (SELECT count(*)::int AS looked, min(k.id) AS last_id FROM looked AS k) AS e
LEFT JOIN LATERAL (
    SELECT
        l.id,
        l.brand_id,
        l.subscriber_id,
        l.kind,
        l.lane,
        l.drip_id,
        l.drip_step_id,
        l.enrollment_id,
        l.state,
        l.error,
        l.attempts,
        l.provider,
        l.provider_message_id,
        l.sender_id,
        l.mail_account_id,
        l.not_before,
        l.created_at,
        l.first_attempt_at,
        l.finished_at,
        l.opened_at,
        l.clicked_at,
        l.machine_opened_at,
        l.payload ->> 'subject' AS subject
    FROM looked AS l
    WHERE
        l.brand_id = $1
        AND ($5::text IS NULL OR l.state = $5)
        AND ($6::text IS NULL OR l.kind = $6)
        AND ($7::bigint IS NULL OR l.drip_id = $7)
    ORDER BY l.id DESC
    LIMIT $4
) AS w ON true
ORDER BY w.id DESC;

-- name: in_trouble
-- The same among a brand's failed and uncertain messages, which have an index of their own.
WITH looked AS MATERIALIZED (
    SELECT m.*
    FROM messages AS m
    WHERE m.state IN ('failed', 'uncertain') AND (m.brand_id, m.id) < ($1, $2::bigint) AND m.brand_id >= $1
    ORDER BY m.brand_id DESC, m.id DESC
    LIMIT $3
)

SELECT
    e.looked,
    e.last_id,
    w.*
FROM (SELECT count(*)::int AS looked, min(k.id) AS last_id FROM looked AS k) AS e
LEFT JOIN LATERAL (
    SELECT
        l.id,
        l.brand_id,
        l.subscriber_id,
        l.kind,
        l.lane,
        l.drip_id,
        l.drip_step_id,
        l.enrollment_id,
        l.state,
        l.error,
        l.attempts,
        l.provider,
        l.provider_message_id,
        l.sender_id,
        l.mail_account_id,
        l.not_before,
        l.created_at,
        l.first_attempt_at,
        l.finished_at,
        l.opened_at,
        l.clicked_at,
        l.machine_opened_at,
        l.payload ->> 'subject' AS subject
    FROM looked AS l
    WHERE
        ($5::text IS NULL OR l.state = $5)
        AND ($6::text IS NULL OR l.kind = $6)
        AND ($7::bigint IS NULL OR l.drip_id = $7)
    ORDER BY l.id DESC
    LIMIT $4
) AS w ON true
ORDER BY w.id DESC;
