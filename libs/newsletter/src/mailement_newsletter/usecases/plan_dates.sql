-- name: plan
-- When date triggers fire for subscribers who have changed: write down the next moment, or strike it out.
WITH planned AS MATERIALIZED (
    SELECT
        d.id AS drip_id,
        s.id AS subscriber_id,
        s.brand_id,
        s.version,
        CASE
            WHEN s.status = 'confirmed' THEN drip_date_due(
                s.custom_fields ->> d.trigger_field,
                d.trigger_days,
                d.trigger_yearly,
                d.trigger_time,
                drip_zone(d.zone, d.brand_id, s.custom_fields),
                now()
            )
        END AS due_at
    FROM unnest($1::bigint []) AS c (subscriber_id)
    CROSS JOIN LATERAL (
        SELECT
            k.id,
            k.brand_id,
            k.version,
            k.status,
            k.custom_fields
        FROM subscribers AS k
        WHERE k.id = c.subscriber_id
        LIMIT 1
    ) AS s
    INNER JOIN drips AS d
        ON s.brand_id = d.brand_id AND d.trigger = 'date' AND d.state IN ('live', 'paused') AND ($2::bigint IS NULL OR d.id = $2)
    LEFT JOIN LATERAL (
        SELECT k.due_at
        FROM drip_dates AS k
        WHERE k.drip_id = d.id AND k.subscriber_id = s.id
        LIMIT 1
    ) AS known ON true
    -- What is due and may still be taken is about to be: to plan it anew would lose it.
    WHERE
        CASE
            WHEN known.due_at <= now() AND s.status = 'confirmed' THEN drip_date_due(
                s.custom_fields ->> d.trigger_field,
                d.trigger_days,
                d.trigger_yearly,
                d.trigger_time,
                drip_zone(d.zone, d.brand_id, s.custom_fields),
                now() - interval '1 day'
            ) <= now()
        END IS NOT TRUE
),

-- Whoever has read a subscriber before a change comes too late behind somebody who has read it since.
struck AS (
    DELETE FROM drip_dates AS k
    USING planned AS p
    WHERE
        k.drip_id = p.drip_id
        AND k.subscriber_id = p.subscriber_id
        AND k.subscriber_version <= p.version
        AND p.due_at IS NULL
)

INSERT INTO drip_dates AS k (drip_id, subscriber_id, brand_id, due_at, subscriber_version)
SELECT
    p.drip_id,
    p.subscriber_id,
    p.brand_id,
    p.due_at,
    p.version
FROM planned AS p
WHERE p.due_at IS NOT NULL
ORDER BY p.drip_id, p.subscriber_id
ON CONFLICT (drip_id, subscriber_id) DO UPDATE SET
    due_at = excluded.due_at,
    subscriber_version = excluded.subscriber_version
WHERE
    k.subscriber_version <= excluded.subscriber_version
    AND (k.due_at <> excluded.due_at OR k.subscriber_version < excluded.subscriber_version);
