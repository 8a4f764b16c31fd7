-- name: report
-- Tell what somebody did elsewhere: drips may start by it, and end by it.
WITH who AS (
    SELECT s.*
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.email_key = $2
    UNION ALL
    SELECT s.*
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.id = $3
),

told AS (
    INSERT INTO outbox (event_id, type, brand_id, data, traceparent)
    SELECT
        event_id('custom_event', nextval('custom_event_number'), 1),
        'event.reported',
        $1,
        jsonb_build_object(
            'brand_slug', b.slug,
            'subscriber', subscriber_facts(w),
            'event', jsonb_build_object('name', $4::text, 'properties', $5::jsonb)
        ),
        $6
    FROM who AS w
    INNER JOIN brands AS b ON b.id = $1
    RETURNING event_id
)

SELECT
    w.id,
    t.event_id
FROM who AS w
CROSS JOIN told AS t;
