-- name: pause
-- Pause a drip, and tell in which state it was. Runs are not touched: one row is written, however many there are.
-- What is in the mail ledger leaves all the same.
WITH found AS MATERIALIZED (
    SELECT
        d.id,
        d.state
    FROM drips AS d
    WHERE d.id = $1 AND d.brand_id = $2
    FOR NO KEY UPDATE
),

paused AS (
    UPDATE drips AS d SET state = 'paused'
    FROM found AS f
    WHERE d.id = f.id AND f.state = 'live'
)

SELECT f.state
FROM found AS f;
