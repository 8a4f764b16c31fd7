-- name: subscribe
-- Find or create subscribers, one for each element of a JSON array; an event for each that changed, none for the others.
WITH asked AS MATERIALIZED (
    SELECT
        a.seq,
        a.brand_id,
        b.slug AS brand_slug,
        a.email,
        a.email_key,
        a.first_name,
        a.last_name,
        a.city,
        a.source,
        a.traceparent,
        a.tags,
        CASE WHEN a.auto_confirm OR b.opt_in_mode = 'single' THEN 'confirmed' ELSE 'pending' END AS signup_status,
        CASE
            WHEN a.custom_fields <> '{}' THEN (
                SELECT jsonb_object_agg(f.key, a.custom_fields -> f.key)
                FROM custom_fields AS f
                WHERE f.brand_id = a.brand_id AND a.custom_fields ? f.key
            )
        END AS fields,
        CASE
            WHEN a.topic_ids IS NOT NULL THEN ARRAY(
                SELECT t.id
                FROM topics AS t
                WHERE t.id = ANY(a.topic_ids) AND t.brand_id = a.brand_id AND t.is_public
                ORDER BY t.id
            )
        END AS replacing,
        CASE
            WHEN a.tags IS NOT NULL THEN ARRAY(
                SELECT t.id
                FROM topics AS t
                WHERE t.brand_id = a.brand_id AND t.slug = ANY(a.tags)
            )
            ELSE '{}'
        END AS adding
    FROM jsonb_to_recordset($1) AS a (
        seq int,
        brand_id bigint,
        email text,
        email_key text,
        first_name text,
        last_name text,
        city text,
        custom_fields jsonb,
        topic_ids bigint [],
        tags text [],
        source text,
        auto_confirm boolean,
        traceparent text
    )
    INNER JOIN brands AS b ON a.brand_id = b.id AND b.deleted_at IS NULL
),

-- The lock makes concurrent calls for one subscriber take turns. LATERAL keeps it an index look-up per row
-- whatever the planner believes of the table's size.
found AS MATERIALIZED (
    SELECT
        a.seq,
        s.*
    FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT
            k.id,
            k.first_name,
            k.last_name,
            k.city,
            k.custom_fields,
            k.topic_ids,
            k.status,
            k.source,
            k.confirmed_at
        FROM subscribers AS k
        WHERE k.brand_id = a.brand_id AND k.email_key = a.email_key
        FOR NO KEY UPDATE
    ) AS s
),

-- What each known subscriber shall be. Bounced and complained ones stay as they are.
planned AS MATERIALIZED (
    SELECT
        f.seq,
        f.id,
        f.status AS old_status,
        CASE WHEN f.status = 'confirmed' THEN 'confirmed' ELSE a.signup_status END AS status,
        coalesce(f.first_name, a.first_name) AS first_name,
        coalesce(f.last_name, a.last_name) AS last_name,
        coalesce(f.city, a.city) AS city,
        coalesce(f.source, a.source) AS source,
        CASE WHEN a.fields IS NULL THEN f.custom_fields ELSE a.fields || f.custom_fields END AS custom_fields,
        f.topic_ids AS old_topic_ids,
        CASE
            WHEN a.replacing IS NULL AND a.adding <@ f.topic_ids THEN f.topic_ids
            ELSE ARRAY(
                SELECT DISTINCT x.topic_id
                FROM unnest(coalesce(a.replacing, f.topic_ids) || a.adding) AS x (topic_id)
                ORDER BY x.topic_id
            )
        END AS topic_ids,
        (
            f.status NOT IN ('confirmed', a.signup_status)
            OR (f.first_name IS NULL AND a.first_name IS NOT NULL)
            OR (f.last_name IS NULL AND a.last_name IS NOT NULL)
            OR (f.city IS NULL AND a.city IS NOT NULL)
            OR (f.source IS NULL AND a.source IS NOT NULL)
            OR (a.fields IS NOT NULL AND (a.fields || f.custom_fields) <> f.custom_fields)
            OR NOT a.adding <@ f.topic_ids
            OR (
                a.replacing IS NOT NULL
                AND NOT (a.replacing <@ f.topic_ids AND f.topic_ids <@ (a.replacing || a.adding))
            )
        ) AS changes
    FROM found AS f
    INNER JOIN asked AS a ON f.seq = a.seq
    WHERE f.status NOT IN ('bounced', 'complained')
),

updated AS (
    UPDATE subscribers AS s SET
        status = p.status,
        first_name = p.first_name,
        last_name = p.last_name,
        city = p.city,
        source = p.source,
        custom_fields = p.custom_fields,
        topic_ids = p.topic_ids,
        confirmed_at = CASE
            WHEN p.status = 'confirmed' AND p.old_status <> 'confirmed' THEN now() ELSE s.confirmed_at
        END,
        unsubscribed_at = CASE WHEN p.old_status = 'unsubscribed' THEN NULL ELSE s.unsubscribed_at END,
        version = s.version + 1,
        updated_at = now()
    FROM planned AS p
    WHERE s.id = p.id AND p.changes
    RETURNING s.id, s AS subscriber
),

-- Without the anti-join every known address would burn an id of the sequence.
inserted AS (
    INSERT INTO subscribers AS s (
        brand_id, email, email_key, first_name, last_name, city, custom_fields, topic_ids, status, source, confirmed_at
    )
    SELECT
        a.brand_id,
        a.email,
        a.email_key,
        a.first_name,
        a.last_name,
        a.city,
        coalesce(a.fields, '{}'),
        CASE
            WHEN a.adding = '{}' THEN coalesce(a.replacing, '{}')
            ELSE ARRAY(
                SELECT DISTINCT x.topic_id
                FROM unnest(coalesce(a.replacing, '{}') || a.adding) AS x (topic_id)
                ORDER BY x.topic_id
            )
        END,
        a.signup_status,
        a.source,
        CASE WHEN a.signup_status = 'confirmed' THEN now() END
    FROM asked AS a
    WHERE NOT EXISTS (SELECT FROM found AS f WHERE f.seq = a.seq)
    ORDER BY a.brand_id, a.email_key
    ON CONFLICT (brand_id, email_key) DO NOTHING
    RETURNING s.id, s.brand_id, s.email_key, s.status, s AS subscriber
),

changed AS (
    SELECT
        a.brand_id,
        a.brand_slug,
        a.traceparent,
        u.subscriber,
        CASE
            WHEN p.status = p.old_status THEN 'subscriber.updated'
            ELSE 'subscriber.' || p.status
        END AS type,
        -- Topics that start their drips: all of a newcomer's, otherwise those that this signup brought.
        CASE
            WHEN p.status <> 'confirmed' THEN '{}'
            WHEN p.old_status <> 'confirmed' THEN p.topic_ids
            ELSE ARRAY(SELECT unnest(p.topic_ids) EXCEPT SELECT unnest(p.old_topic_ids))
        END AS signup_topic_ids,
        CASE
            WHEN p.topic_ids = p.old_topic_ids THEN '{}'
            ELSE ARRAY(SELECT unnest(p.old_topic_ids) EXCEPT SELECT unnest(p.topic_ids))
        END AS removed_topic_ids
    FROM updated AS u
    INNER JOIN planned AS p ON u.id = p.id
    INNER JOIN asked AS a ON p.seq = a.seq
    UNION ALL
    SELECT
        a.brand_id,
        a.brand_slug,
        a.traceparent,
        i.subscriber,
        'subscriber.' || i.status,
        CASE WHEN i.status = 'confirmed' THEN (i.subscriber).topic_ids ELSE '{}' END,
        '{}'
    FROM inserted AS i
    INNER JOIN asked AS a ON i.brand_id = a.brand_id AND i.email_key = a.email_key
),

told AS (
    INSERT INTO outbox (event_id, type, brand_id, data, traceparent)
    SELECT
        event_id('subscriber', (c.subscriber).id, (c.subscriber).version),
        c.type,
        c.brand_id,
        jsonb_build_object(
            'brand_slug', c.brand_slug,
            'subscriber', subscriber_facts(c.subscriber),
            'signup_topic_ids', to_jsonb(c.signup_topic_ids),
            'removed_topic_ids', to_jsonb(c.removed_topic_ids)
        ),
        c.traceparent
    FROM changed AS c
),

unknown AS MATERIALIZED (
    SELECT DISTINCT
        a.seq,
        a.brand_id,
        x.slug
    FROM asked AS a
    CROSS JOIN LATERAL unnest(a.tags) AS x (slug)
    WHERE NOT EXISTS (SELECT FROM topics AS t WHERE t.brand_id = a.brand_id AND t.slug = x.slug)
),

noted AS (
    INSERT INTO unknown_topics (brand_id, slug, seen_on)
    SELECT DISTINCT
        x.brand_id,
        x.slug,
        current_date
    FROM unknown AS x
    -- Enough to find a typo by, and no way to fill the table with nonsense.
    WHERE NOT EXISTS (
        SELECT FROM unknown_topics AS u WHERE u.brand_id = x.brand_id AND u.seen_on = current_date OFFSET 500
    )
    ORDER BY x.brand_id, x.slug
    ON CONFLICT DO NOTHING
)

SELECT
    r.seq,
    r.id,
    r.status,
    r.created,
    r.changed,
    ARRAY(SELECT x.slug FROM unknown AS x WHERE x.seq = r.seq ORDER BY x.slug) AS unknown_tags
FROM (
    SELECT
        f.seq,
        f.id,
        coalesce(p.status, f.status) AS status,
        false AS created,
        coalesce(p.changes, false) AS changed
    FROM found AS f
    LEFT JOIN planned AS p ON f.seq = p.seq
    UNION ALL
    SELECT
        a.seq,
        i.id,
        i.status,
        true,
        true
    FROM inserted AS i
    INNER JOIN asked AS a ON i.brand_id = a.brand_id AND i.email_key = a.email_key
) AS r;
