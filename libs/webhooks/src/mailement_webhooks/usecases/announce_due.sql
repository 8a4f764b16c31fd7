-- name: announce
-- Tell all who listen.
SELECT pg_notify($1::text, $2::text);
