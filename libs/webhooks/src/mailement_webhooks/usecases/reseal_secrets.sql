-- name: sealed_otherwise
-- The next endpoints with a secret that is not sealed with this key.
SELECT
    e.id,
    array_remove(ARRAY[e.secret_sealed, e.secret_staged_sealed, e.secret_previous_sealed], NULL) AS sealed
FROM webhook_endpoints AS e
WHERE
    e.state <> 'deleted'
    AND e.id > $2
    AND (
        split_part(e.secret_sealed, '|', 2) <> $1
        OR split_part(e.secret_staged_sealed, '|', 2) <> $1
        OR split_part(e.secret_previous_sealed, '|', 2) <> $1
    )
ORDER BY e.id
LIMIT $3::int;

-- name: reseal
-- Put each sealed text in the place of its old one, wherever a rotation has moved that meanwhile.
UPDATE webhook_endpoints AS e SET
    secret_sealed = coalesce(($3::text [])[array_position($2::text [], e.secret_sealed)], e.secret_sealed),
    secret_staged_sealed = coalesce(
        ($3::text [])[array_position($2::text [], e.secret_staged_sealed)], e.secret_staged_sealed
    ),
    secret_previous_sealed = coalesce(
        ($3::text [])[array_position($2::text [], e.secret_previous_sealed)], e.secret_previous_sealed
    )
WHERE
    e.id = $1
    AND ARRAY[e.secret_sealed, e.secret_staged_sealed, e.secret_previous_sealed] && $2::text [];
