-- name: update
-- Change what is named of an endpoint.
UPDATE webhook_endpoints AS e SET
    url = CASE WHEN 'url' = ANY($2::text []) THEN $3 ELSE e.url END,
    event_types = CASE WHEN 'event_types' = ANY($2::text []) THEN $4::text [] ELSE e.event_types END,
    description = CASE WHEN 'description' = ANY($2::text []) THEN $5 ELSE e.description END,
    retries = CASE WHEN 'retries' = ANY($2::text []) THEN $6 ELSE e.retries END,
    ordered = CASE WHEN 'ordered' = ANY($2::text []) THEN $7 ELSE e.ordered END,
    max_in_flight = CASE WHEN 'max_in_flight' = ANY($2::text []) THEN $8 ELSE e.max_in_flight END,
    rate_per_second = CASE WHEN 'rate_per_second' = ANY($2::text []) THEN $9 ELSE e.rate_per_second END,
    updated_at = now()
WHERE e.id = $1 AND e.state <> 'deleted'
RETURNING e.id;
