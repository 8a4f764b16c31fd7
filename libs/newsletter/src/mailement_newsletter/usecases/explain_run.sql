-- name: drip
-- What keeps a drip's runs from going on.
SELECT
    d.state,
    d.catch_up,
    d.skip_due_before,
    CASE WHEN d.max_per_hour IS NOT NULL THEN d.paced_until + interval '1 hour' / d.max_per_hour END AS paced_until
FROM drips AS d
WHERE d.id = $1;

-- name: local
-- Moments as they are in a zone, in the same order.
SELECT m.at AT TIME ZONE $2::text AS local
FROM unnest($1::timestamptz []) WITH ORDINALITY AS m (at, number)
ORDER BY m.number;
