-- name: subscriber
-- Whose run it is.
SELECT e.subscriber_id
FROM drip_enrollments AS e
WHERE e.brand_id = $1 AND e.id = $2;
