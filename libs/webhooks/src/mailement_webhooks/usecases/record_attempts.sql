-- name: record
-- Write attempts and what follows from them together; a result whose lease was lost changes nothing.
WITH result AS MATERIALIZED (
    SELECT
        r.delivery_id,
        r.lease_token,
        r.outcome,
        r.reason,
        r.detail,
        r.status_code,
        r.request_head,
        r.response_head,
        r.response_body,
        r.started_at,
        r.duration_ms,
        r.dns_ms,
        r.connect_ms,
        r.tls_ms,
        r.first_byte_ms,
        r.body_ms,
        r.tries,
        r.refusals,
        now() + make_interval(secs => r.next_attempt_in) AS next_attempt_at
    FROM unnest(
        $1::bigint [],
        $2::uuid [],
        $3::text [],
        $4::text [],
        $5::text [],
        $6::int [],
        $7::text [],
        $8::text [],
        $9::text [],
        $10::timestamptz [],
        $11::int [],
        $12::int [],
        $13::int [],
        $14::int [],
        $15::int [],
        $16::int [],
        $17::int [],
        $18::int [],
        $19::float []
    ) AS r (
        delivery_id,
        lease_token,
        outcome,
        reason,
        detail,
        status_code,
        request_head,
        response_head,
        response_body,
        started_at,
        duration_ms,
        dns_ms,
        connect_ms,
        tls_ms,
        first_byte_ms,
        body_ms,
        tries,
        refusals,
        next_attempt_in
    )
    -- So that two who bring the same results do not wait for each other.
    ORDER BY r.delivery_id
),

-- Where the rows are: each is found once, by its key, and by nothing else. Whoever takes up a lease that has ended writes the
-- row anew, elsewhere: so that it is not there any more when this has waited for him. The token is compared only there, and
-- not by =, which would tempt the planner to go through all that is leased.
held AS MATERIALIZED (
    SELECT
        q.place,
        r.delivery_id,
        r.lease_token,
        q.attempts,
        q.occurred_at,
        q.event_id,
        q.endpoint_id,
        q.brand_id,
        q.sequence,
        q.trigger,
        q.replay_id,
        r.outcome,
        r.reason,
        r.detail,
        r.status_code,
        r.request_head,
        r.response_head,
        r.response_body,
        r.started_at,
        r.duration_ms,
        r.dns_ms,
        r.connect_ms,
        r.tls_ms,
        r.first_byte_ms,
        r.body_ms,
        r.tries,
        r.refusals,
        r.next_attempt_at
    FROM result AS r
    CROSS JOIN LATERAL (
        SELECT
            w.ctid AS place,
            w.attempts,
            w.occurred_at,
            w.event_id,
            w.endpoint_id,
            w.brand_id,
            w.sequence,
            w.trigger,
            w.replay_id
        FROM delivery_queue AS w
        WHERE w.delivery_id = r.delivery_id
        LIMIT 1
    ) AS q
),

ended AS (
    DELETE FROM delivery_queue AS q
    USING held AS h
    WHERE h.next_attempt_at IS NULL AND q.ctid = h.place AND q.lease_token IS NOT DISTINCT FROM h.lease_token
    RETURNING
        h.delivery_id,
        h.attempts,
        h.occurred_at,
        h.event_id,
        h.endpoint_id,
        h.brand_id,
        h.sequence,
        h.trigger,
        h.replay_id,
        h.outcome,
        h.reason,
        h.detail,
        h.status_code,
        h.request_head,
        h.response_head,
        h.response_body,
        h.started_at,
        h.duration_ms,
        h.dns_ms,
        h.connect_ms,
        h.tls_ms,
        h.first_byte_ms,
        h.body_ms
),

again AS (
    UPDATE delivery_queue AS q SET
        lease_token = NULL,
        due_at = h.next_attempt_at,
        tries = h.tries,
        refusals = h.refusals,
        -- What people asked for has been done; what follows from it is the schedule's.
        trigger = CASE WHEN q.trigger = 'manual' THEN 'automatic' ELSE q.trigger END
    FROM held AS h
    WHERE h.next_attempt_at IS NOT NULL AND q.ctid = h.place AND q.lease_token IS NOT DISTINCT FROM h.lease_token
    RETURNING
        h.delivery_id,
        h.attempts,
        h.occurred_at,
        h.endpoint_id,
        h.trigger,
        h.outcome,
        h.reason,
        h.detail,
        h.status_code,
        h.request_head,
        h.response_head,
        h.response_body,
        h.started_at,
        h.duration_ms,
        h.dns_ms,
        h.connect_ms,
        h.tls_ms,
        h.first_byte_ms,
        h.body_ms,
        h.next_attempt_at
),

finished AS (
    UPDATE deliveries AS d SET
        state = e.outcome,
        reason = e.reason,
        attempts = e.attempts,
        finished_at = now()
    FROM ended AS e
    -- All that its indexes know, so that any of them finds the one row: while a month is empty, they look alike to the planner.
    WHERE
        d.id = e.delivery_id
        AND d.occurred_at = e.occurred_at
        AND d.event_id = e.event_id
        AND d.endpoint_id = e.endpoint_id
        AND d.brand_id = e.brand_id
        AND d.sequence = e.sequence
),

-- In order of the key, so that two recorders do not wait for each other.
replay AS MATERIALIZED (
    SELECT p.id
    FROM webhook_replays AS p
    WHERE p.id = ANY(ARRAY(SELECT e.replay_id FROM ended AS e WHERE e.replay_id IS NOT NULL))
    ORDER BY p.id
    FOR UPDATE
),

counted AS (
    UPDATE webhook_replays AS p SET
        delivered = p.delivered + c.delivered,
        failed = p.failed + c.failed,
        updated_at = now()
    FROM (
        SELECT
            l.id,
            count(*) FILTER (WHERE e.outcome = 'delivered') AS delivered,
            count(*) FILTER (WHERE e.outcome = 'failed') AS failed
        FROM replay AS l
        INNER JOIN ended AS e ON l.id = e.replay_id
        GROUP BY l.id
    ) AS c
    WHERE p.id = c.id
)

INSERT INTO delivery_attempts (
    delivery_id,
    number,
    occurred_at,
    endpoint_id,
    trigger,
    outcome,
    reason,
    detail,
    status_code,
    request_head,
    response_head,
    response_body,
    started_at,
    duration_ms,
    dns_ms,
    connect_ms,
    tls_ms,
    first_byte_ms,
    body_ms,
    next_attempt_at
)
SELECT
    e.delivery_id,
    e.attempts,
    e.occurred_at,
    e.endpoint_id,
    e.trigger,
    e.outcome,
    e.reason,
    e.detail,
    e.status_code,
    e.request_head,
    e.response_head,
    e.response_body,
    e.started_at,
    e.duration_ms,
    e.dns_ms,
    e.connect_ms,
    e.tls_ms,
    e.first_byte_ms,
    e.body_ms,
    NULL
FROM ended AS e
UNION ALL
SELECT
    a.delivery_id,
    a.attempts,
    a.occurred_at,
    a.endpoint_id,
    a.trigger,
    a.outcome,
    a.reason,
    a.detail,
    a.status_code,
    a.request_head,
    a.response_head,
    a.response_body,
    a.started_at,
    a.duration_ms,
    a.dns_ms,
    a.connect_ms,
    a.tls_ms,
    a.first_byte_ms,
    a.body_ms,
    a.next_attempt_at
FROM again AS a
RETURNING delivery_id;
