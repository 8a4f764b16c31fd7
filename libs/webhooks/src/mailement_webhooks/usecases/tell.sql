-- name: append
-- Put events into the outbox, in the order in which they were told.
INSERT INTO outbox (event_id, type, brand_id, data, occurred_at)
SELECT
    r.event_id,
    r.type,
    r.brand_id,
    r.data,
    r.occurred_at
FROM unnest(
    $1::uuid [], $2::text [], $3::bigint [], $4::jsonb [], $5::timestamptz []
) WITH ORDINALITY AS r (event_id, type, brand_id, data, occurred_at, place)
ORDER BY r.place;
