-- name: plan
-- When date triggers fire for subscribers who have changed: write down the next moment, or strike it out.
WITH planned AS MATERIALIZED (
    SELECT
        d.id AS drip_id,
        s.id AS subscriber_id,
        s.brand_id,
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
            k.status,
            k.custom_fields
        FROM subscribers AS k
        WHERE k.id = c.subscriber_id
        LIMIT 1
    ) AS s
    INNER JOIN drips AS d
        ON s.brand_id = d.brand_id AND d.trigger = 'date' AND d.state IN ('live', 'paused') AND ($2::bigint IS NULL OR d.id = $2)
),

struck AS (
    DELETE FROM drip_dates AS k
    USING planned AS p
    WHERE k.drip_id = p.drip_id AND k.subscriber_id = p.subscriber_id AND p.due_at IS NULL
)

INSERT INTO drip_dates AS k (drip_id, subscriber_id, brand_id, due_at)
SELECT
    p.drip_id,
    p.subscriber_id,
    p.brand_id,
    p.due_at
FROM planned AS p
WHERE p.due_at IS NOT NULL
ORDER BY p.drip_id, p.subscriber_id
-- What is due already is about to be taken: to plan it anew would lose it.
ON CONFLICT (drip_id, subscriber_id) DO UPDATE SET due_at = excluded.due_at
WHERE k.due_at <> excluded.due_at AND k.due_at > now();
