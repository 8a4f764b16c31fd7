-- name: claim
-- Take what is due, the urgent first; other mailers skip it. Whoever may no longer be written to is cancelled instead.
WITH RECURSIVE
-- Within one priority the index ends where the future begins: mails that wait for a retry are never walked over.
levels AS (
    (SELECT m.priority FROM messages AS m WHERE m.state = 'queued' ORDER BY m.priority LIMIT 1)
    UNION ALL
    SELECT (
        SELECT m.priority
        FROM messages AS m
        WHERE m.state = 'queued' AND m.priority > l.priority
        ORDER BY m.priority
        LIMIT 1
    )
    FROM levels AS l
    WHERE l.priority IS NOT NULL
),

due AS MATERIALIZED (
    SELECT d.id
    FROM levels AS l
    CROSS JOIN LATERAL (
        SELECT m.id
        FROM messages AS m
        WHERE m.state = 'queued' AND m.priority = l.priority AND m.not_before <= $1
        ORDER BY m.not_before, m.id
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ) AS d
    LIMIT $2
),

-- By array: the planner takes an array of unknown length for a short one and stays with the primary keys.
decided AS MATERIALIZED (
    SELECT
        m.id,
        s.email,
        s.email_key,
        s.first_name,
        s.last_name,
        s.city,
        s.custom_fields,
        b.slug AS brand_slug,
        b.name AS brand_name,
        b.sender_name,
        b.sender_address,
        CASE
            WHEN s.id IS NULL THEN 'subscriber_deleted'
            WHEN s.status <> 'confirmed' THEN 'subscriber_' || s.status
            WHEN b.id IS NULL OR b.deleted_at IS NOT NULL THEN 'brand_deleted'
            WHEN m.kind = 'drip' AND (t.id IS NULL OR t.deleted_at IS NOT NULL) THEN 'step_deleted'
        END AS refusal
    FROM messages AS m
    LEFT JOIN subscribers AS s ON m.subscriber_id = s.id
    LEFT JOIN brands AS b ON m.brand_id = b.id
    LEFT JOIN drip_steps AS t ON m.drip_step_id = t.id
    WHERE m.id = ANY(ARRAY(SELECT due.id FROM due))
)

UPDATE messages AS m SET
    state = CASE WHEN d.refusal IS NULL THEN 'claimed' ELSE 'cancelled' END,
    lease_token = CASE WHEN d.refusal IS NULL THEN $3::uuid END,
    lease_until = CASE WHEN d.refusal IS NULL THEN $4::timestamptz END,
    error = coalesce(d.refusal, m.error),
    finished_at = CASE WHEN d.refusal IS NOT NULL THEN $1 END
FROM decided AS d
WHERE m.id = d.id AND m.state = 'queued'
RETURNING
    m.id,
    m.brand_id,
    m.subscriber_id,
    m.priority,
    m.not_before,
    m.drip_step_id,
    m.dedupe_key,
    m.payload,
    m.attempts,
    m.traceparent,
    m.created_at,
    d.email,
    d.email_key,
    d.first_name,
    d.last_name,
    d.city,
    d.custom_fields,
    d.brand_slug,
    d.brand_name,
    d.sender_name,
    d.sender_address,
    d.refusal;

-- name: step_contents
-- What the claimed steps say, each step once however many mails it becomes.
SELECT
    t.id,
    t.subject,
    t.html,
    t.body_text
FROM drip_steps AS t
WHERE t.id = ANY($1::bigint[]);

-- name: start
-- Freeze the mails and note that they go out now. A row that is missing in the answer was lost to another mailer.
-- Harmless to repeat after a lost answer: the token is ours as long as nobody else took the row.
UPDATE messages AS m SET
    state = 'sending',
    payload = coalesce(m.payload, w.payload),
    attempts = w.attempt,
    provider = $5,
    lease_until = $7
FROM unnest($1::bigint[], $2::uuid[], $3::jsonb[], $4::int[]) AS w (id, lease_token, payload, attempt)
WHERE m.id = w.id AND m.lease_token = w.lease_token AND m.state IN ('claimed', 'sending') AND m.lease_until > $6
RETURNING m.id;

-- name: record
-- What became of the mails. Fenced: a row that another mailer has taken over since is not touched, and not returned.
UPDATE messages AS m SET
    state = r.state,
    attempts = r.attempts,
    not_before = coalesce(r.not_before, m.not_before),
    provider_message_id = coalesce(r.provider_message_id, m.provider_message_id),
    error = r.error,
    finished_at = r.finished_at,
    lease_token = NULL,
    lease_until = NULL
FROM
    unnest(
        $1::bigint[], $2::uuid[], $3::text[], $4::int[], $5::timestamptz[], $6::text[], $7::text[], $8::timestamptz[]
    ) AS r (id, lease_token, state, attempts, not_before, provider_message_id, error, finished_at)
WHERE m.id = r.id AND m.lease_token = r.lease_token AND m.state IN ('claimed', 'sending')
RETURNING m.id;

-- name: release
-- Put mails back that never came near the wire.
UPDATE messages AS m SET
    state = 'queued',
    lease_token = NULL,
    lease_until = NULL
FROM unnest($1::bigint[], $2::uuid[]) AS r (id, lease_token)
WHERE m.id = r.id AND m.lease_token = r.lease_token AND m.state = 'claimed'
RETURNING m.id;

-- name: expire
-- Mails whose mailer fell silent. Not on the wire yet, or with a provider that still knows their key: again.
-- Anything else may have arrived, so it is shown and not repeated.
WITH expired AS MATERIALIZED (
    SELECT m.id
    FROM messages AS m
    WHERE m.state IN ('claimed', 'sending') AND m.lease_until <= $1
    ORDER BY m.lease_until
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),

decided AS MATERIALIZED (
    SELECT
        m.id,
        m.state = 'claimed'
        OR (m.provider = $3 AND m.lease_until > $1 - $4::interval AND m.attempts < $5) AS again
    FROM messages AS m
    WHERE m.id = ANY(ARRAY(SELECT e.id FROM expired AS e))
)

UPDATE messages AS m SET
    state = CASE WHEN d.again THEN 'queued' ELSE 'uncertain' END,
    error = CASE WHEN m.state = 'sending' THEN 'the mailer fell silent while sending' ELSE m.error END,
    finished_at = CASE WHEN NOT d.again THEN $1 END,
    lease_token = NULL,
    lease_until = NULL
FROM decided AS d
WHERE m.id = d.id AND m.state IN ('claimed', 'sending')
RETURNING
    m.id,
    m.brand_id,
    m.subscriber_id,
    m.state,
    m.attempts,
    m.provider,
    m.error,
    m.traceparent;
