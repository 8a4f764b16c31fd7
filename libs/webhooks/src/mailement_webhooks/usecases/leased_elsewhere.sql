-- name: leases
-- How many deliveries of each endpoint of some shards are leased by others, and for how long still.
SELECT
    q.endpoint_id,
    count(*)::int AS leases,
    extract(EPOCH FROM max(q.due_at) - now())::float AS end_in
FROM delivery_queue AS q
INNER JOIN webhook_endpoints AS e ON q.endpoint_id = e.id
WHERE q.lease_token IS NOT NULL AND q.due_at > now() AND e.shard = ANY($1::int []) AND q.lease_token <> ALL($2::uuid [])
GROUP BY q.endpoint_id;
