-- name: change_tags
-- Add and remove memberships by slug; tells which topics really came and went, and which slugs nobody knows.
WITH who AS (
    SELECT s.id
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.email_key = $2
    UNION ALL
    SELECT s.id
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.id = $3
),

found AS MATERIALIZED (
    SELECT
        s.id,
        s.topic_ids
    FROM subscribers AS s
    WHERE s.id = (SELECT w.id FROM who AS w)
    FOR NO KEY UPDATE
),

planned AS MATERIALIZED (
    SELECT
        f.id,
        f.topic_ids,
        ARRAY(
            SELECT t.id
            FROM topics AS t
            WHERE t.brand_id = $1 AND t.slug = ANY($4::text []) AND t.slug <> ALL($5::text []) AND t.id <> ALL(f.topic_ids)
            ORDER BY t.id
        ) AS added,
        ARRAY(
            SELECT t.id
            FROM topics AS t
            WHERE t.brand_id = $1 AND t.slug = ANY($5::text []) AND t.id = ANY(f.topic_ids)
            ORDER BY t.id
        ) AS removed
    FROM found AS f
),

changed AS (
    UPDATE subscribers AS s SET
        topic_ids = ARRAY(
            SELECT x.topic_id
            FROM unnest(p.topic_ids || p.added) AS x (topic_id)
            WHERE x.topic_id <> ALL(p.removed)
            ORDER BY x.topic_id
        ),
        version = s.version + 1,
        updated_at = now()
    FROM planned AS p
    WHERE s.id = p.id AND (p.added <> '{}' OR p.removed <> '{}')
    RETURNING s.id, s.brand_id, s AS subscriber, p.removed
),

told AS (
    INSERT INTO outbox (event_id, type, brand_id, data, traceparent)
    SELECT
        event_id('subscriber', c.id, (c.subscriber).version),
        'subscriber.updated',
        c.brand_id,
        jsonb_build_object(
            'brand_slug', b.slug,
            'subscriber', subscriber_facts(c.subscriber),
            -- Only a signup starts drips (Mailement document, section 7).
            'signup_topic_ids', '[]'::jsonb,
            'removed_topic_ids', to_jsonb(c.removed)
        ),
        $6
    FROM changed AS c
    INNER JOIN brands AS b ON c.brand_id = b.id
),

unknown AS MATERIALIZED (
    SELECT DISTINCT x.slug
    FROM unnest($4::text [] || $5::text []) AS x (slug)
    WHERE
        EXISTS (SELECT FROM found)
        AND NOT EXISTS (SELECT FROM topics AS t WHERE t.brand_id = $1 AND t.slug = x.slug)
),

noted AS (
    INSERT INTO unknown_topics (brand_id, slug, seen_on)
    SELECT
        $1,
        x.slug,
        current_date
    FROM unknown AS x
    -- Enough to find a typo by, and no way to fill the table with nonsense.
    WHERE NOT EXISTS (
        SELECT FROM unknown_topics AS u WHERE u.brand_id = $1 AND u.seen_on = current_date OFFSET 500
    )
    ORDER BY x.slug
    ON CONFLICT DO NOTHING
)

SELECT
    p.id,
    p.added,
    p.removed,
    ARRAY(SELECT x.slug FROM unknown AS x ORDER BY x.slug) AS unknown_tags
FROM planned AS p;
