-- name: take_turn
-- Whether nobody else is keeping house; ours until the transaction ends.
SELECT pg_try_advisory_xact_lock($1);

-- name: today
-- The database's own day, in UTC.
SELECT (now() AT TIME ZONE 'UTC')::date;

-- name: partitions
-- The names of a table's partitions.
SELECT c.relname::text AS name
FROM pg_inherits AS i
INNER JOIN pg_class AS c ON i.inhrelid = c.oid
INNER JOIN pg_class AS p ON i.inhparent = p.oid
WHERE p.relname = $1
ORDER BY c.relname;

-- name: days_in_default
-- The days whose events found no partition of their own.
SELECT DISTINCT (d.published_at AT TIME ZONE 'UTC')::date AS day
FROM event_log_default AS d;

-- name: move_in
-- Events that found no partition of their own go where they belong.
INSERT INTO event_log (event_id, type, brand_id, data, traceparent, occurred_at, published_at)
SELECT
    d.event_id,
    d.type,
    d.brand_id,
    d.data,
    d.traceparent,
    d.occurred_at,
    d.published_at
FROM event_log_default AS d;
