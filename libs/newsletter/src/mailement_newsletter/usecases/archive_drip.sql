-- name: archive
-- Archive a drip. Its runs are not touched: a drip that is not live moves nobody.
WITH archived AS (
    UPDATE drips AS d SET state = 'archived'
    WHERE d.id = $1 AND d.brand_id = $2
    RETURNING d.id
),

forgotten AS (
    DELETE FROM drip_dates AS k
    USING archived AS a
    WHERE k.drip_id = a.id
)

SELECT a.id
FROM archived AS a;
