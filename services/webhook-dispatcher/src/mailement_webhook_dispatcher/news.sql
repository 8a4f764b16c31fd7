-- name: brand_slugs
-- Events speak of a brand by its slug.
SELECT
    b.id,
    b.slug
FROM brands AS b
WHERE b.id = ANY($1::bigint []);

-- name: had_failed
-- Of deliveries that were sent again, those whose last end before that was a failure.
SELECT r.delivery_id
FROM unnest($1::bigint [], $2::timestamptz [], $3::int []) AS r (delivery_id, occurred_at, number)
CROSS JOIN LATERAL (
    SELECT a.outcome
    FROM delivery_attempts AS a
    WHERE
        a.delivery_id = r.delivery_id
        AND a.occurred_at = r.occurred_at
        AND a.number < r.number
        AND a.next_attempt_at IS NULL
        AND a.outcome <> 'interrupted'
    ORDER BY a.number DESC
    LIMIT 1
) AS a
WHERE a.outcome = 'failed';
