-- name: waiting_lanes
-- Whose turn it may be: round the brands that have mail waiting, and within each round its drips and campaigns.
-- Every step of the walk skips to the next brand or lane in the index, so a backlog costs no more than one mail.
WITH RECURSIVE
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

-- From behind $2 to the last brand, then from the first one up to $2.
brands AS (
    SELECT
        l.priority,
        false AS is_wrapped,
        $2::bigint AS brand_id,
        0 AS n
    FROM levels AS l
    WHERE l.priority IS NOT NULL
    UNION ALL
    SELECT
        b.priority,
        following.is_wrapped,
        following.brand_id,
        b.n + 1
    FROM brands AS b
    CROSS JOIN LATERAL (
        (
            SELECT
                b.is_wrapped,
                m.brand_id
            FROM messages AS m
            WHERE
                m.state = 'queued'
                AND m.priority = b.priority
                AND m.brand_id > b.brand_id
                AND m.brand_id <= CASE WHEN b.is_wrapped THEN $2 ELSE 9223372036854775807 END
            ORDER BY m.brand_id
            LIMIT 1
        )
        UNION ALL
        (
            SELECT
                true AS is_wrapped,
                m.brand_id
            FROM messages AS m
            WHERE NOT b.is_wrapped AND m.state = 'queued' AND m.priority = b.priority AND m.brand_id <= $2
            ORDER BY m.brand_id
            LIMIT 1
        )
        LIMIT 1
    ) AS following
    WHERE b.n < $3::int
),

-- The same within a brand, from behind the lane that $6 to $8 name for it.
lanes AS MATERIALIZED (
    SELECT
        b.priority,
        b.n AS brand_turn,
        b.brand_id,
        w.n AS lane_turn,
        w.kind,
        w.lane,
        count(*) OVER (PARTITION BY b.priority) AS at_level
    FROM brands AS b
    LEFT JOIN unnest($6::bigint [], $7::text [], $8::bigint []) AS p (brand_id, kind, lane) ON b.brand_id = p.brand_id
    CROSS JOIN LATERAL (
        WITH RECURSIVE walk AS (
            SELECT
                false AS is_wrapped,
                coalesce(p.kind, '') AS kind,
                coalesce(p.lane, 0) AS lane,
                0 AS n
            UNION ALL
            SELECT
                following.is_wrapped,
                following.kind,
                following.lane,
                k.n + 1
            FROM walk AS k
            CROSS JOIN LATERAL (
                (
                    SELECT
                        false AS is_wrapped,
                        m.kind,
                        m.lane
                    FROM messages AS m
                    WHERE
                        NOT k.is_wrapped
                        AND m.state = 'queued'
                        AND m.priority = b.priority
                        AND m.brand_id = b.brand_id
                        AND (m.kind, m.lane) > (k.kind, k.lane)
                    ORDER BY m.kind, m.lane
                    LIMIT 1
                )
                UNION ALL
                (
                    SELECT
                        true AS is_wrapped,
                        m.kind,
                        m.lane
                    FROM messages AS m
                    WHERE
                        m.state = 'queued'
                        AND m.priority = b.priority
                        AND m.brand_id = b.brand_id
                        AND (m.kind, m.lane) > (CASE WHEN k.is_wrapped THEN k.kind ELSE '' END, k.lane * k.is_wrapped::int)
                        AND (m.kind, m.lane) <= (p.kind, p.lane)
                    ORDER BY m.kind, m.lane
                    LIMIT 1
                )
                LIMIT 1
            ) AS following
            WHERE k.n < $4::int
        )

        SELECT
            walk.kind,
            walk.lane,
            walk.n
        FROM walk
        WHERE walk.n > 0
    ) AS w
    WHERE b.n > 0
)

-- How much is due is counted no further than it can matter.
SELECT
    l.priority,
    l.brand_id,
    l.kind,
    l.lane,
    d.due,
    greatest(1, $5::int / l.at_level)::int AS counted
FROM lanes AS l
CROSS JOIN LATERAL (
    SELECT count(*)::int AS due
    FROM (
        SELECT m.id
        FROM messages AS m
        WHERE
            m.state = 'queued'
            AND m.priority = l.priority
            AND m.brand_id = l.brand_id
            AND m.kind = l.kind
            AND m.lane = l.lane
            AND m.not_before <= $1
        ORDER BY m.not_before
        LIMIT greatest(1, $5::int / l.at_level)
    ) AS k
) AS d
ORDER BY l.priority, l.brand_turn, l.lane_turn;

-- name: claim
-- Take from each lane what it was given; other mailers skip it. Whoever may no longer be written to is cancelled instead.
WITH due AS MATERIALIZED (
    SELECT
        d.id,
        w.lease_until
    FROM unnest($3::smallint [], $4::bigint [], $5::text [], $6::bigint [], $7::int [], $8::timestamptz [])
        AS w (priority, brand_id, kind, lane, most, lease_until)
    CROSS JOIN LATERAL (
        SELECT m.id
        FROM messages AS m
        WHERE
            m.state = 'queued'
            AND m.priority = w.priority
            AND m.brand_id = w.brand_id
            AND m.kind = w.kind
            AND m.lane = w.lane
            AND m.not_before <= $1
        ORDER BY m.not_before, m.id
        LIMIT w.most
        FOR UPDATE SKIP LOCKED
    ) AS d
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
            -- An answer to what somebody did may reach him before he has confirmed anything.
            WHEN s.status <> 'confirmed' AND NOT (m.kind = 'transactional' AND s.status = 'pending')
                THEN 'subscriber_' || s.status
            WHEN b.id IS NULL OR b.deleted_at IS NOT NULL THEN 'brand_deleted'
            WHEN r.state = 'archived' THEN 'drip_archived'
            WHEN m.kind = 'drip' AND (t.id IS NULL OR t.deleted_at IS NOT NULL) THEN 'step_deleted'
            -- A scheduler of the release before takes every kind of step for a mail.
            WHEN m.kind = 'drip' AND t.kind <> 'send' THEN 'step_is_no_mail'
        END AS refusal
    FROM messages AS m
    LEFT JOIN subscribers AS s ON m.subscriber_id = s.id
    LEFT JOIN brands AS b ON m.brand_id = b.id
    LEFT JOIN drips AS r ON m.drip_id = r.id
    LEFT JOIN drip_steps AS t ON m.drip_step_id = t.id
    WHERE m.id = ANY(ARRAY(SELECT due.id FROM due))
),

taken AS (
    UPDATE messages AS m SET
        state = CASE WHEN d.refusal IS NULL THEN 'claimed' ELSE 'cancelled' END,
        lease_token = CASE WHEN d.refusal IS NULL THEN $2::uuid END,
        lease_until = CASE WHEN d.refusal IS NULL THEN due.lease_until END,
        error = coalesce(d.refusal, m.error),
        finished_at = CASE WHEN d.refusal IS NOT NULL THEN $1 END
    FROM decided AS d
    INNER JOIN due ON d.id = due.id
    WHERE m.id = d.id AND m.id = ANY(ARRAY(SELECT k.id FROM due AS k))
    RETURNING
        m.*,
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
        d.refusal
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, step_id, what, n)
    SELECT
        t.drip_id,
        coalesce(t.drip_step_id, 0),
        'cancelled',
        count(*)
    FROM taken AS t
    WHERE t.refusal IS NOT NULL AND t.drip_id IS NOT NULL
    GROUP BY t.drip_id, t.drip_step_id
)

SELECT
    t.id,
    t.brand_id,
    t.subscriber_id,
    t.kind,
    t.lane,
    t.priority,
    t.not_before,
    t.drip_step_id,
    t.dedupe_key,
    t.key_version,
    t.payload,
    t.attempts,
    t.tries,
    t.first_attempt_at,
    t.may_have_arrived,
    t.provider,
    t.sender_id,
    t.mail_account_id,
    t.batch_id,
    t.batch_position,
    t.traceparent,
    t.created_at,
    t.email,
    t.email_key,
    t.first_name,
    t.last_name,
    t.city,
    t.custom_fields,
    t.brand_slug,
    t.brand_name,
    t.sender_name,
    t.sender_address,
    t.refusal
FROM taken AS t
ORDER BY t.priority, t.not_before, t.id;

-- name: claim_batches
-- Batches that are to go out once more: their lease has ended, because of a retry or because their mailer fell silent.
-- A batch is taken whole or not at all, whoever of its recipients has left since: it may have arrived already.
WITH late AS MATERIALIZED (
    SELECT
        m.id,
        m.batch_id,
        m.batch_position
    FROM messages AS m
    WHERE
        m.state IN ('claimed', 'sending')
        AND m.lease_until <= $1
        AND m.state = 'sending'
        AND m.batch_id IS NOT NULL
        AND m.tries + (m.lease_token IS NOT NULL)::int < $7
        AND (m.mail_account_id IS NOT NULL OR m.provider = $6)
        -- Zero is the account of the settings.
        AND coalesce(m.mail_account_id, 0) <> ALL($9::bigint [])
        AND EXISTS (
            SELECT
            FROM unnest($4::text [], $5::interval []) AS k (provider, kept)
            WHERE m.provider = k.provider AND m.first_attempt_at > $1::timestamptz - k.kept
        )
    ORDER BY m.lease_until, m.batch_id, m.batch_position
    LIMIT 1000
),

-- Whoever holds the first mail of a batch has the batch.
heads AS MATERIALIZED (
    SELECT m.batch_id
    FROM messages AS m
    WHERE
        m.id = ANY(
            ARRAY(
                SELECT f.id
                FROM (
                    SELECT DISTINCT ON (l.batch_id) l.id FROM late AS l ORDER BY l.batch_id, l.batch_position
                ) AS f
            )
        )
        AND m.state = 'sending'
        AND m.lease_until <= $1
        AND NOT EXISTS (
            SELECT
            FROM messages AS k
            WHERE k.state IN ('claimed', 'sending') AND k.lease_until > $1 AND k.batch_id = m.batch_id
        )
    LIMIT $8
    FOR UPDATE SKIP LOCKED
),

found AS MATERIALIZED (
    SELECT
        m.id,
        m.lease_token IS NOT NULL AS was_interrupted
    FROM messages AS m
    WHERE
        m.state IN ('claimed', 'sending')
        AND m.lease_until <= $1
        AND m.state = 'sending'
        AND m.batch_id = ANY(ARRAY(SELECT h.batch_id FROM heads AS h))
),

taken AS (
    UPDATE messages AS m SET
        lease_token = $2::uuid,
        lease_until = $3,
        tries = m.tries + f.was_interrupted::int,
        may_have_arrived = m.may_have_arrived OR f.was_interrupted,
        error = CASE WHEN f.was_interrupted THEN 'the mailer fell silent while sending' ELSE m.error END
    FROM found AS f
    WHERE m.id = f.id AND m.id = ANY(ARRAY(SELECT k.id FROM found AS k))
    RETURNING m.*, f.was_interrupted
),

noted AS (
    INSERT INTO message_attempts (message_id, number, started_at, provider, mail_account_id, sender_id, outcome, reason)
    SELECT
        t.id,
        t.attempts,
        coalesce(t.attempt_started_at, $1),
        t.provider,
        t.mail_account_id,
        t.sender_id,
        'interrupted',
        'the mailer fell silent while sending'
    FROM taken AS t
    WHERE t.was_interrupted
    ON CONFLICT DO NOTHING
)

SELECT
    t.id,
    t.brand_id,
    t.subscriber_id,
    t.kind,
    t.lane,
    t.priority,
    t.not_before,
    t.drip_step_id,
    t.dedupe_key,
    t.key_version,
    t.payload,
    t.attempts,
    t.tries,
    t.first_attempt_at,
    t.may_have_arrived,
    t.provider,
    t.sender_id,
    t.mail_account_id,
    t.batch_id,
    t.batch_position,
    t.traceparent,
    t.created_at,
    -- The mail is whole already; of the person and the brand no more is needed than who they are.
    '' AS email,
    '' AS email_key,
    NULL AS first_name,
    NULL AS last_name,
    NULL AS city,
    '{}'::jsonb AS custom_fields,
    '' AS brand_slug,
    '' AS brand_name,
    NULL AS sender_name,
    NULL AS sender_address,
    NULL AS refusal
FROM taken AS t
ORDER BY t.batch_id, t.batch_position;
