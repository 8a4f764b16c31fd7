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

-- name: columns
-- The columns of a table, as a list to put into a statement.
SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
FROM pg_attribute AS a
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
