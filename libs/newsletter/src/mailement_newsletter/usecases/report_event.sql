-- name: report
-- Tell what somebody did elsewhere, once for each id that an integrator gives: drips may start by it, and end by it.
WITH known AS (
    SELECT
        k.subscriber_id,
        k.event_id
    FROM reported_events AS k
    WHERE k.brand_id = $1 AND k.given_id = $7
    LIMIT 1
),

who AS (
    SELECT s.*
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.email_key = $2
    UNION ALL
    SELECT s.*
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.id = $3
),

asked AS MATERIALIZED (
    SELECT
        w.id AS subscriber_id,
        CASE
            -- Made of the id too: what is told twice when a month ends, or after the id was forgotten, is still one event.
            WHEN $7::text IS NOT NULL THEN event_id('custom_event:' || $7, $1, 1)
            ELSE event_id('custom_event', nextval('custom_event_number'), 1)
        END AS event_id
    FROM who AS w
    WHERE NOT EXISTS (SELECT FROM known)
),

remembered AS (
    INSERT INTO reported_events (brand_id, given_id, subscriber_id, event_id)
    SELECT
        $1,
        $7,
        a.subscriber_id,
        a.event_id
    FROM asked AS a
    WHERE $7 IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING event_id
),

told AS (
    INSERT INTO outbox (event_id, type, brand_id, data, traceparent)
    SELECT
        a.event_id,
        'event.reported',
        $1,
        jsonb_build_object(
            'brand_slug', b.slug,
            'subscriber', subscriber_facts(w),
            'event', jsonb_build_object('name', $4::text, 'properties', $5::jsonb)
        ),
        $6
    FROM asked AS a
    INNER JOIN who AS w ON a.subscriber_id = w.id
    INNER JOIN brands AS b ON b.id = $1
    WHERE $7 IS NULL OR EXISTS (SELECT FROM remembered)
)

SELECT
    k.subscriber_id,
    k.event_id
FROM known AS k
UNION ALL
SELECT
    a.subscriber_id,
    a.event_id
FROM asked AS a;
