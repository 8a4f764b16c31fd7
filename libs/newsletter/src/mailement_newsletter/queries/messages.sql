-- name: step_contents
-- What the claimed steps say, each step once however many mails it becomes.
SELECT
    t.id,
    t.drip_id,
    t.subject,
    t.html,
    t.body_text
FROM drip_steps AS t
WHERE t.id = ANY($1::bigint[]);

-- name: start
-- Freeze the mails and note that they go out now. A row that is missing in the answer was lost to another mailer.
-- Harmless to repeat after a lost answer: the token is ours as long as nobody else took the row, and the number of the
-- attempt comes from what was claimed.
UPDATE messages AS m SET
    state = 'sending',
    payload = coalesce(m.payload, w.payload),
    attempts = w.attempt,
    provider = w.provider,
    mail_account_id = w.mail_account_id,
    sender_id = w.sender_id,
    batch_id = w.batch_id,
    batch_position = w.batch_position,
    first_attempt_at = coalesce(m.first_attempt_at, $1),
    attempt_started_at = $1,
    -- It may have been renewed since this was asked for.
    lease_until = greatest(m.lease_until, $11)
FROM
    unnest(
        $2::bigint [], $3::uuid [], $4::jsonb [], $5::int [], $6::text [], $7::bigint [], $8::bigint [],
        $9::uuid [], $10::int []
    ) AS w (
        id, lease_token, payload, attempt, provider, mail_account_id, sender_id,
        batch_id, batch_position
    )
WHERE
    m.id = w.id
    AND m.id = ANY($2)
    AND m.lease_token = w.lease_token
    AND m.state IN ('claimed', 'sending')
    AND m.lease_until > $1
RETURNING m.id, m.lease_token;

-- name: record
-- What became of the mails. Fenced: a row that another mailer has taken over since is not touched, and not returned.
-- A mail that nobody has taken yet is thawed, so that another sender may take it next.
WITH fates AS MATERIALIZED (
    SELECT *
    FROM
        unnest(
            $1::bigint [], $2::uuid [], $3::text [], $4::int [], $5::int [], $6::timestamptz [], $7::text [], $8::text [],
            $9::timestamptz [], $10::boolean [], $11::boolean [], $12::text [], $13::text [], $14::text [], $15::int []
        ) AS r (
            id, lease_token, state, attempts, tries, not_before, provider_message_id, error,
            finished_at, may_have_arrived, thaw, outcome, code, reason, duration_ms
        )
),

recorded AS (
    UPDATE messages AS m SET
        state = r.state,
        attempts = r.attempts,
        tries = r.tries,
        not_before = CASE WHEN r.state = 'queued' THEN coalesce(r.not_before, m.not_before) ELSE m.not_before END,
        -- A batch that goes out again waits as it is, on the wire.
        lease_until = CASE WHEN r.state = 'sending' THEN r.not_before END,
        lease_token = NULL,
        provider_message_id = coalesce(r.provider_message_id, m.provider_message_id),
        error = r.error,
        finished_at = r.finished_at,
        may_have_arrived = r.may_have_arrived,
        payload = CASE WHEN NOT r.thaw THEN m.payload END,
        batch_id = CASE WHEN NOT r.thaw THEN m.batch_id END,
        batch_position = CASE WHEN NOT r.thaw THEN m.batch_position END,
        first_attempt_at = CASE WHEN NOT r.thaw THEN m.first_attempt_at END
    FROM fates AS r
    WHERE m.id = r.id AND m.id = ANY($1) AND m.lease_token = r.lease_token AND m.state IN ('claimed', 'sending')
    RETURNING m.id, r.lease_token, m.state, m.drip_id, m.drip_step_id, m.provider, m.mail_account_id, m.sender_id,
        r.attempts, m.attempt_started_at, r.outcome, r.code, r.reason, r.duration_ms
),

noted AS (
    INSERT INTO message_attempts (
        message_id, number, started_at, provider, mail_account_id, sender_id, outcome, code, reason, duration_ms
    )
    SELECT
        r.id,
        r.attempts,
        r.attempt_started_at,
        r.provider,
        r.mail_account_id,
        r.sender_id,
        r.outcome,
        r.code,
        r.reason,
        r.duration_ms
    FROM recorded AS r
    WHERE r.outcome IS NOT NULL
    -- It was taken for interrupted.
    ON CONFLICT (message_id, number, started_at) DO UPDATE SET
        outcome = excluded.outcome,
        code = excluded.code,
        reason = excluded.reason,
        duration_ms = excluded.duration_ms
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, step_id, what, n)
    SELECT
        r.drip_id,
        coalesce(r.drip_step_id, 0),
        r.state,
        count(*)
    FROM recorded AS r
    WHERE r.drip_id IS NOT NULL AND r.state IN ('sent', 'failed', 'uncertain')
    GROUP BY r.drip_id, r.drip_step_id, r.state
)

SELECT
    r.id,
    r.lease_token
FROM recorded AS r;

-- name: reopen
-- Mails that are uncertain because their mailer fell silent, and that it speaks of after all: nobody has touched them since.
WITH reopened AS (
    UPDATE messages AS m SET
        state = 'sending',
        finished_at = NULL
    FROM unnest($1::bigint [], $2::uuid []) AS r (id, lease_token)
    WHERE m.id = r.id AND m.id = ANY($1) AND m.lease_token = r.lease_token AND m.state = 'uncertain'
    RETURNING m.id, m.lease_token, m.drip_id, m.drip_step_id
),

uncounted AS (
    INSERT INTO drip_tallies (drip_id, step_id, what, n)
    SELECT
        r.drip_id,
        coalesce(r.drip_step_id, 0),
        'uncertain',
        -count(*)
    FROM reopened AS r
    WHERE r.drip_id IS NOT NULL
    GROUP BY r.drip_id, r.drip_step_id
)

SELECT
    r.id,
    r.lease_token
FROM reopened AS r;

-- name: renew
-- Mails that a mailer still has in hand stay its own.
UPDATE messages AS m SET lease_until = $3
FROM unnest($1::bigint [], $2::uuid []) AS r (id, lease_token)
WHERE
    m.id = r.id
    AND m.id = ANY($1)
    AND m.lease_token = r.lease_token
    AND m.state IN ('claimed', 'sending')
    AND m.lease_until < $3;

-- name: release
-- Put mails back that never came near the wire; $3: when they may be looked at again, NULL: as before.
UPDATE messages AS m SET
    state = 'queued',
    lease_token = NULL,
    lease_until = NULL,
    not_before = coalesce($3, m.not_before)
FROM unnest($1::bigint [], $2::uuid []) AS r (id, lease_token)
WHERE m.id = r.id AND m.id = ANY($1) AND m.lease_token = r.lease_token AND m.state = 'claimed'
RETURNING m.id;

-- name: postpone_batches
-- Batches that were taken to go out again and cannot at present stay on the wire until $3.
UPDATE messages AS m SET
    lease_token = NULL,
    lease_until = $3
FROM unnest($1::bigint [], $2::uuid []) AS r (id, lease_token)
WHERE m.id = r.id AND m.id = ANY($1) AND m.lease_token = r.lease_token AND m.state = 'sending'
RETURNING m.id;

-- name: expire
-- Mails whose mailer fell silent. Not on the wire yet, or with a provider that still knows their key: again.
-- Anything else may have arrived, so it is shown and not repeated. Batches that go again are claimed as they are.
-- The same for what may have arrived and has waited for its way to open until its key was forgotten.
WITH silent AS MATERIALIZED (
    SELECT
        m.id,
        d.again,
        m.state = 'sending' AND m.lease_token IS NOT NULL AS was_interrupted
    FROM messages AS m
    CROSS JOIN LATERAL (
        SELECT
            m.state = 'claimed'
            OR (
                m.tries + (m.lease_token IS NOT NULL)::int < $6
                AND (m.mail_account_id IS NOT NULL OR m.provider = $5)
                AND EXISTS (
                    SELECT
                    FROM unnest($3::text [], $4::interval []) AS k (provider, kept)
                    WHERE m.provider = k.provider AND coalesce(m.first_attempt_at, m.lease_until) > $1::timestamptz - k.kept
                )
            ) AS again
    ) AS d
    WHERE
        m.state IN ('claimed', 'sending')
        AND m.lease_until <= $1
        AND (m.batch_id IS NULL OR m.state = 'claimed' OR NOT d.again)
    ORDER BY m.lease_until
    LIMIT $2
    FOR UPDATE OF m SKIP LOCKED
),

forgotten AS MATERIALIZED (
    SELECT f.id
    FROM unnest($3::text [], $4::interval []) AS k (provider, kept)
    CROSS JOIN LATERAL (
        SELECT m.id
        FROM messages AS m
        WHERE
            m.state = 'queued'
            AND m.may_have_arrived
            AND m.provider = k.provider
            AND m.first_attempt_at <= $1::timestamptz - k.kept
        ORDER BY m.first_attempt_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ) AS f
),

expired AS MATERIALIZED (
    SELECT
        s.id,
        s.again,
        s.was_interrupted
    FROM silent AS s
    UNION ALL
    SELECT
        f.id,
        false AS again,
        false AS was_interrupted
    FROM forgotten AS f
),

ended AS (
    UPDATE messages AS m SET
        state = CASE WHEN e.again THEN 'queued' ELSE 'uncertain' END,
        tries = m.tries + e.was_interrupted::int,
        may_have_arrived = m.may_have_arrived OR e.was_interrupted,
        error = CASE WHEN e.was_interrupted THEN 'the mailer fell silent while sending' ELSE m.error END,
        finished_at = CASE WHEN NOT e.again THEN $1 END,
        -- Whoever was on the wire with it may come back and tell what became of it.
        lease_token = CASE WHEN NOT e.again THEN m.lease_token END,
        lease_until = NULL
    FROM expired AS e
    WHERE m.id = e.id AND m.id = ANY(ARRAY(SELECT k.id FROM expired AS k)) AND m.state IN ('queued', 'claimed', 'sending')
    RETURNING m.*, e.was_interrupted
),

noted AS (
    INSERT INTO message_attempts (message_id, number, started_at, provider, mail_account_id, sender_id, outcome, reason)
    SELECT
        e.id,
        e.attempts,
        coalesce(e.attempt_started_at, $1),
        e.provider,
        e.mail_account_id,
        e.sender_id,
        'interrupted',
        'the mailer fell silent while sending'
    FROM ended AS e
    WHERE e.was_interrupted
    ON CONFLICT DO NOTHING
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, step_id, what, n)
    SELECT
        e.drip_id,
        coalesce(e.drip_step_id, 0),
        e.state,
        count(*)
    FROM ended AS e
    WHERE e.drip_id IS NOT NULL AND e.state = 'uncertain'
    GROUP BY e.drip_id, e.drip_step_id, e.state
)

SELECT
    e.id,
    e.brand_id,
    e.subscriber_id,
    e.state,
    e.attempts,
    e.provider,
    e.error,
    e.traceparent
FROM ended AS e;
