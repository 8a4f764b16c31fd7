-- name: find
-- The message, and what is uncertain with it since they went out in one request; and whether its provider would know the key.
-- Locked in the order of their ids: whoever wishes for another one of them waits.
WITH wanted AS MATERIALIZED (
    SELECT
        m.id,
        m.batch_id
    FROM messages AS m
    WHERE m.id = $1 AND m.brand_id = $2
)

SELECT
    m.id,
    m.state,
    m.batch_id,
    m.payload IS NOT NULL AND EXISTS (
        SELECT
        FROM unnest($3::text [], $4::interval []) AS k (provider, kept)
        WHERE m.provider = k.provider AND m.first_attempt_at > now() - k.kept
    ) AS key_is_known
FROM messages AS m
WHERE
    m.id = ANY(
        ARRAY(
            SELECT w.id FROM wanted AS w
            UNION
            SELECT k.id
            FROM messages AS k
            WHERE k.state = 'uncertain' AND k.batch_id = (SELECT w.batch_id FROM wanted AS w)
        )
    )
ORDER BY m.id
FOR NO KEY UPDATE;

-- name: anew
-- It has certainly not arrived: it is composed once more, and leaves under a key of its own.
UPDATE messages AS m SET
    state = 'queued',
    key_version = m.key_version + 1,
    payload = NULL,
    batch_id = NULL,
    batch_position = NULL,
    first_attempt_at = NULL,
    may_have_arrived = false,
    tries = 0,
    not_before = now(),
    error = NULL,
    finished_at = NULL
WHERE m.id = $1
RETURNING m.drip_id, m.drip_step_id;

-- name: as_it_is
-- It may have arrived: the same bytes under the same key, alone.
-- If nobody knows the key any more ($2 false), whoever asked knows that it may arrive twice, so it may also go by another provider.
UPDATE messages AS m SET
    state = 'queued',
    lease_token = NULL,
    batch_id = NULL,
    batch_position = NULL,
    first_attempt_at = CASE WHEN $2 THEN m.first_attempt_at END,
    provider = CASE WHEN $2 THEN m.provider END,
    may_have_arrived = true,
    tries = 0,
    not_before = now(),
    error = NULL,
    finished_at = NULL
WHERE m.id = $1
RETURNING m.drip_id, m.drip_step_id;

-- name: with_its_batch
-- The key stands for all of the batch: it goes out again whole, and arrives at nobody twice.
UPDATE messages AS m SET
    state = 'sending',
    lease_token = NULL,
    lease_until = now(),
    may_have_arrived = true,
    tries = 0,
    error = NULL,
    finished_at = NULL
WHERE m.state = 'uncertain' AND m.batch_id = $1
RETURNING m.drip_id, m.drip_step_id;

-- name: uncount
-- What was counted as ended has not.
INSERT INTO drip_tallies (drip_id, step_id, what, n)
SELECT
    t.drip_id,
    coalesce(t.step_id, 0),
    $3,
    -count(*)
FROM unnest($1::bigint [], $2::bigint []) AS t (drip_id, step_id)
WHERE t.drip_id IS NOT NULL
GROUP BY t.drip_id, t.step_id;
