-- name: run
-- Whose run of the brand it is, and what decides when and whether it goes on.
SELECT
    e.drip_id,
    e.cursor_pos,
    e.anchor_at,
    s.email,
    s.status,
    drip_zone(d.zone, d.brand_id, s.custom_fields) AS timezone
FROM drip_enrollments AS e
INNER JOIN drips AS d ON e.drip_id = d.id
LEFT JOIN LATERAL (
    SELECT
        k.email,
        k.status,
        k.custom_fields
    FROM subscribers AS k
    WHERE k.id = e.subscriber_id
    LIMIT 1
) AS s ON true
WHERE e.id = $2 AND e.brand_id = $1;

-- name: steps
-- The steps of a drip in their order, those that were deleted too.
SELECT
    s.id,
    s.position,
    s.kind,
    s.label,
    s.subject,
    s.delay,
    s.deleted_at,
    s.params -> 'then' AS then_step,
    s.params -> 'otherwise' AS otherwise_step
FROM drip_steps AS s
WHERE s.drip_id = $1
ORDER BY s.position;

-- name: mails
-- The mails of a run, by the keys that its steps make: each a look-up, also with a plan from when the ledger was empty.
SELECT
    m.id,
    m.drip_step_id,
    m.state,
    m.error,
    m.attempts,
    m.not_before,
    m.created_at,
    m.finished_at,
    m.opened_at,
    m.clicked_at
FROM unnest($1::text []) AS k (dedupe_key)
CROSS JOIN LATERAL (
    SELECT
        x.id,
        x.drip_step_id,
        x.state,
        x.error,
        x.attempts,
        x.not_before,
        x.created_at,
        x.finished_at,
        x.opened_at,
        x.clicked_at
    FROM messages AS x
    WHERE x.dedupe_key = k.dedupe_key
    LIMIT 1
) AS m
ORDER BY m.id;

-- name: events
-- What else happened in a run, in the order of time.
SELECT
    v.step_id,
    v.kind,
    v.detail,
    v.at
FROM drip_run_events AS v
WHERE v.enrollment_id = $1
ORDER BY v.at, v.step_id
LIMIT 1000;
