-- name: take_turn
-- Whoever folds or recounts is alone with the sums until its transaction ends; those who append are not.
SELECT pg_try_advisory_xact_lock($1);

-- name: await_turn
-- The same, waiting for whoever has it.
SELECT pg_advisory_xact_lock($1);

-- name: fold
-- Add up counts that were appended, a drip's rows at a time; what another process folds is left to it.
WITH crowded AS MATERIALIZED (
    SELECT t.drip_id
    FROM drip_tallies AS t
    GROUP BY t.drip_id
    HAVING count(*) > 200 AND count(*) > 2 * count(DISTINCT t.step_id || t.what)
    ORDER BY count(*) DESC
    LIMIT 20
),

taken AS MATERIALIZED (
    SELECT t.ctid AS place
    FROM drip_tallies AS t
    WHERE t.drip_id = ANY(ARRAY(SELECT c.drip_id FROM crowded AS c))
    LIMIT $1
    FOR UPDATE SKIP LOCKED
),

folded AS (
    DELETE FROM drip_tallies AS t
    WHERE t.ctid = ANY(ARRAY(SELECT k.place FROM taken AS k))
    RETURNING t.drip_id, t.step_id, t.what, t.n
)

INSERT INTO drip_tallies (drip_id, step_id, what, n)
SELECT
    f.drip_id,
    f.step_id,
    f.what,
    sum(f.n)
FROM folded AS f
GROUP BY f.drip_id, f.step_id, f.what;
