-- name: page
-- A subscriber's runs through the brand's drips, before a run, the newest first: a look-up in each drip.
SELECT e.id
FROM drips AS d
CROSS JOIN LATERAL (
    SELECT k.id
    FROM drip_enrollments AS k
    WHERE k.drip_id = d.id AND k.subscriber_id = $2 AND k.id < $3
    ORDER BY k.run_no DESC
    LIMIT $4
) AS e
WHERE d.brand_id = $1
ORDER BY e.id DESC
LIMIT $4;
