-- name: take_turn
-- Whoever folds or recounts is alone with the sums until its transaction ends; those who append are not.
SELECT pg_try_advisory_xact_lock($1);

-- name: await_turn
-- The same, waiting for whoever has it.
SELECT pg_advisory_xact_lock($1);

-- name: fold
-- Add what was counted since to the sums, of which there is one row each; tells how many rows that were. Nothing else is looked at.
WITH taken AS MATERIALIZED (
    SELECT t.ctid AS place
    FROM drip_tallies AS t
    WHERE NOT t.folded
    LIMIT $1
    FOR UPDATE SKIP LOCKED
),

appended AS (
    DELETE FROM drip_tallies AS t
    WHERE t.ctid = ANY(ARRAY(SELECT k.place FROM taken AS k))
    RETURNING t.drip_id, t.step_id, t.what, t.n
),

summed AS (
    INSERT INTO drip_tallies AS t (drip_id, step_id, what, n, folded)
    SELECT
        a.drip_id,
        a.step_id,
        a.what,
        sum(a.n),
        true
    FROM appended AS a
    GROUP BY a.drip_id, a.step_id, a.what
    ON CONFLICT (drip_id, step_id, what) WHERE folded DO UPDATE SET n = t.n + excluded.n
)

SELECT count(*)::int AS appended
FROM appended;
