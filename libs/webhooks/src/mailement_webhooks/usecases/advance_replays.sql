-- name: advance
-- Take each running replay on by what its rate allows, as long as little of it waits.
WITH replay AS MATERIALIZED (
    SELECT
        r.id,
        r.endpoint_id,
        r.types,
        r.outcomes,
        r.occurred_from,
        r.occurred_until,
        r.at_sequence,
        r.through_sequence,
        r.created_at,
        -- A filter that finds little must not make this a long statement.
        least(r.through_sequence, r.at_sequence + 10000) AS until_sequence,
        a.allowance,
        greatest(least(floor(a.allowance), a.burst - w.waiting), 0)::int AS room,
        w.waiting
    FROM webhook_replays AS r
    INNER JOIN webhook_endpoints AS e ON r.endpoint_id = e.id
    CROSS JOIN LATERAL (
        SELECT
            greatest(2 * r.rate_per_second, 20) AS burst,
            least(r.allowance + r.rate_per_second * $2::float, greatest(2 * r.rate_per_second, 20)) AS allowance
    ) AS a
    CROSS JOIN LATERAL (
        SELECT count(*) AS waiting
        FROM (
            SELECT
            FROM delivery_queue AS q
            WHERE q.replay_id = r.id
            LIMIT ceil(a.burst) -- noqa: AM09
        ) AS few
    ) AS w
    WHERE r.state = 'running' AND r.finished_at IS NULL AND e.shard = ANY($1::int [])
    ORDER BY r.id
    FOR UPDATE OF r SKIP LOCKED
),

found AS MATERIALIZED (
    SELECT
        r.id AS replay_id,
        d.id,
        d.occurred_at,
        d.event_id,
        d.endpoint_id,
        d.brand_id,
        d.sequence,
        d.attempts
    FROM replay AS r
    CROSS JOIN LATERAL (
        SELECT
            k.id,
            k.occurred_at,
            k.event_id,
            k.endpoint_id,
            k.brand_id,
            k.sequence,
            k.attempts
        FROM deliveries AS k
        WHERE
            k.endpoint_id = r.endpoint_id
            AND k.sequence > r.at_sequence
            AND k.sequence <= r.until_sequence
            AND k.state <> 'pending'
            -- What waited when the replay began has been sent since.
            AND k.finished_at <= r.created_at
            AND (r.types IS NULL OR k.type = ANY(r.types))
            AND (r.outcomes IS NULL OR k.state = ANY(r.outcomes))
            AND (r.occurred_from IS NULL OR k.occurred_at >= r.occurred_from)
            AND (r.occurred_until IS NULL OR k.occurred_at < r.occurred_until)
        ORDER BY k.sequence
        LIMIT r.room -- noqa: AM09
        FOR UPDATE SKIP LOCKED
    ) AS d
),

enqueued AS (
    INSERT INTO delivery_queue (
        delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence, lane, trigger, replay_id, attempts
    )
    SELECT
        f.id,
        f.occurred_at,
        f.event_id,
        f.endpoint_id,
        f.brand_id,
        f.sequence,
        1,
        'replay',
        f.replay_id,
        f.attempts
    FROM found AS f
    ORDER BY f.replay_id, f.sequence
    -- Whoever has asked for it in this moment has it sent.
    ON CONFLICT (delivery_id) DO NOTHING
    RETURNING delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence, replay_id
),

-- Reason and moment of its end stay: a replay that is cancelled gives the delivery back as it was.
reopened AS (
    UPDATE deliveries AS d SET state = 'pending'
    FROM enqueued AS q
    WHERE
        d.id = q.delivery_id
        AND d.occurred_at = q.occurred_at
        AND d.event_id = q.event_id
        AND d.endpoint_id = q.endpoint_id
        AND d.brand_id = q.brand_id
        AND d.sequence = q.sequence
),

advanced AS (
    UPDATE webhook_replays AS p SET
        at_sequence = CASE
            WHEN r.room = 0 THEN p.at_sequence
            WHEN s.found = r.room THEN s.last_sequence
            ELSE r.until_sequence
        END,
        enqueued = p.enqueued + s.enqueued,
        allowance = r.allowance - s.enqueued,
        state = CASE WHEN r.at_sequence >= r.through_sequence AND r.waiting = 0 THEN 'finished' ELSE p.state END,
        finished_at = CASE WHEN r.at_sequence >= r.through_sequence AND r.waiting = 0 THEN now() END,
        updated_at = now()
    FROM replay AS r
    CROSS JOIN LATERAL (
        SELECT
            count(*) AS found,
            max(f.sequence) AS last_sequence,
            (SELECT count(*) FROM enqueued AS q WHERE q.replay_id = r.id) AS enqueued
        FROM found AS f
        WHERE f.replay_id = r.id
    ) AS s
    WHERE p.id = r.id
)

SELECT DISTINCT q.endpoint_id
FROM enqueued AS q;

-- name: withdraw
-- Take out of the queue what cancelled replays had put there, and give it back to the ledger as it was.
WITH replay AS MATERIALIZED (
    SELECT r.id
    FROM webhook_replays AS r
    INNER JOIN webhook_endpoints AS e ON r.endpoint_id = e.id
    WHERE r.state = 'cancelled' AND r.finished_at IS NULL AND e.shard = ANY($1::int [])
    ORDER BY r.id
    FOR UPDATE OF r SKIP LOCKED
),

withdrawn AS (
    DELETE FROM delivery_queue AS q
    WHERE
        q.delivery_id = ANY(
            ARRAY(
                SELECT w.delivery_id
                FROM delivery_queue AS w
                WHERE
                    w.replay_id = ANY(ARRAY(SELECT r.id FROM replay AS r))
                    -- One that people have asked for since goes out all the same.
                    AND w.lane = 1
                    -- Not by IS NULL, which would tempt the planner to go through all that waits.
                    AND num_nulls(w.lease_token) = 1
                FOR UPDATE SKIP LOCKED
            )
        )
    RETURNING q.delivery_id, q.occurred_at, q.event_id, q.endpoint_id, q.brand_id, q.sequence, q.attempts
),

restored AS (
    UPDATE deliveries AS d SET
        state = CASE
            WHEN d.reason IS NULL THEN 'delivered'
            WHEN d.reason IN ('endpoint_deleted', 'hold_expired', 'drained', 'replay_cancelled') THEN 'discarded'
            ELSE 'failed'
        END,
        attempts = w.attempts
    FROM withdrawn AS w
    WHERE
        d.id = w.delivery_id
        AND d.occurred_at = w.occurred_at
        AND d.event_id = w.event_id
        AND d.endpoint_id = w.endpoint_id
        AND d.brand_id = w.brand_id
        AND d.sequence = w.sequence
)

-- Finished when it is found with nothing in the queue, that is, the next time.
UPDATE webhook_replays AS p SET
    finished_at = now(),
    updated_at = now()
FROM replay AS r
WHERE p.id = r.id AND NOT EXISTS (SELECT FROM delivery_queue AS q WHERE q.replay_id = p.id);
