-- name: leave
-- Move a subscriber out of the list, once; its running drips end with it.
WITH who AS (
    SELECT s.id
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.email_key = $2
    UNION ALL
    SELECT s.id
    FROM subscribers AS s
    WHERE s.brand_id = $1 AND s.id = $3
),

found AS MATERIALIZED (
    SELECT
        s.id,
        s.status
    FROM subscribers AS s
    WHERE s.id = (SELECT w.id FROM who AS w)
    FOR NO KEY UPDATE
),

changed AS (
    UPDATE subscribers AS s SET
        status = $4,
        unsubscribed_at = CASE WHEN $4 = 'unsubscribed' THEN now() ELSE s.unsubscribed_at END,
        version = s.version + 1,
        updated_at = now()
    FROM found AS f
    WHERE s.id = f.id AND f.status = ANY($5::text [])
    RETURNING s.id, s.brand_id, s AS subscriber
),

exited AS (
    UPDATE drip_enrollments AS e SET
        state = 'exited',
        exit_reason = $4,
        next_run_at = NULL,
        ended_at = now()
    FROM changed AS c
    WHERE e.subscriber_id = c.id AND e.state = 'active'
    RETURNING e.drip_id
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT
        e.drip_id,
        'exited',
        count(*)
    FROM exited AS e
    GROUP BY e.drip_id
),

told AS (
    INSERT INTO outbox (event_id, type, brand_id, data, traceparent)
    SELECT
        event_id('subscriber', c.id, (c.subscriber).version),
        'subscriber.' || $4,
        c.brand_id,
        jsonb_build_object('brand_slug', b.slug, 'subscriber', subscriber_facts(c.subscriber)),
        $6
    FROM changed AS c
    INNER JOIN brands AS b ON c.brand_id = b.id
)

SELECT
    f.id,
    EXISTS (SELECT FROM changed AS c WHERE c.id = f.id) AS changed
FROM found AS f;

-- name: cancel_mails
-- Cancel what waits for somebody who has left. A statement of its own: it sees what was queued while the runs' rows were waited for.
WITH cancelled AS (
    UPDATE messages AS m SET
        state = 'cancelled',
        error = 'subscriber_' || $2,
        finished_at = now()
    WHERE m.subscriber_id = $1 AND m.state = 'queued'
    RETURNING m.drip_id, m.drip_step_id
)

INSERT INTO drip_tallies (drip_id, step_id, what, n)
SELECT
    c.drip_id,
    coalesce(c.drip_step_id, 0),
    'cancelled',
    count(*)
FROM cancelled AS c
WHERE c.drip_id IS NOT NULL
GROUP BY c.drip_id, c.drip_step_id;
