-- name: appear
-- Shared by all dispatchers, so that each can count the others.
SELECT pg_advisory_lock_shared($1::int, $2::int);

-- name: leave
-- Before the shards are given up, so that the others take them at once.
SELECT pg_advisory_unlock_shared($1::int, $2::int);

-- name: replicas
-- How many have appeared.
SELECT count(*)
FROM pg_locks AS l
WHERE
    l.locktype = 'advisory'
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    AND l.classid = $1::int::oid
    AND l.objid = $2::int::oid
    AND l.objsubid = 2
    AND l.granted;

-- name: take
-- As many of these shards as are free, up to the limit; the rest are not even asked for.
SELECT c.shard
FROM unnest($2::int[]) AS c (shard)
WHERE pg_try_advisory_lock($1::int, c.shard)
LIMIT $3;

-- name: give_up
-- False would mean that it was not ours.
SELECT
    c.shard,
    pg_advisory_unlock($1::int, c.shard) AS given_up
FROM unnest($2::int[]) AS c (shard);
