-- name: archive
-- Archive a drip, once. Its runs are not touched: a drip that is not live moves nobody.
-- What a date trigger had planned is forgotten by the scheduler, which looks at live drips alone meanwhile.
WITH found AS MATERIALIZED (
    SELECT
        d.id,
        d.state,
        d.trigger
    FROM drips AS d
    WHERE d.id = $1 AND d.brand_id = $2
    FOR NO KEY UPDATE
),

archived AS (
    UPDATE drips AS d SET state = 'archived'
    FROM found AS f
    WHERE d.id = f.id AND f.state <> 'archived'
    RETURNING d.id, d.trigger
),

asked AS (
    INSERT INTO drip_jobs (drip_id, kind)
    SELECT
        a.id,
        'forget_dates'
    FROM archived AS a
    WHERE a.trigger = 'date'
)

SELECT f.id
FROM found AS f;
