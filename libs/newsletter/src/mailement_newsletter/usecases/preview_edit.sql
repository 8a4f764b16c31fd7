-- name: measure
-- What becomes of the active runs of a drip with other steps ($2) instead of those that it has ($3): as `retime` would do it.
WITH steps AS MATERIALIZED (
    SELECT
        k.id,
        make_interval(secs => k.seconds) AS delay,
        k.kind,
        k.params,
        row_number() OVER (ORDER BY k.position) AS number
    FROM jsonb_to_recordset($2) AS k (
        id bigint, position double precision, seconds double precision, kind text, params jsonb
    )
),

steps_now AS MATERIALIZED (
    SELECT
        k.id,
        row_number() OVER (ORDER BY k.position) AS number
    FROM jsonb_to_recordset($3) AS k (id bigint, position int)
),

places AS MATERIALIZED (
    SELECT
        ARRAY(
            SELECT k.position FROM jsonb_to_recordset($2) AS k (position double precision) ORDER BY k.position
        ) AS then_at,
        ARRAY(
            SELECT k.position FROM jsonb_to_recordset($3) AS k (position double precision) ORDER BY k.position
        ) AS now_at
),

runs AS MATERIALIZED (
    (
        SELECT
            e.subscriber_id,
            e.cursor_pos,
            e.anchor_at,
            e.next_run_at,
            e.attempts
        FROM drip_enrollments AS e
        WHERE NOT $10::boolean AND e.drip_id = $1 AND e.state = 'active' AND e.next_run_at IS NOT NULL
        LIMIT $12
    )
    UNION ALL
    SELECT
        e.subscriber_id,
        e.cursor_pos,
        e.anchor_at,
        e.next_run_at,
        e.attempts
    FROM drip_enrollments AS e
    WHERE NOT $10::boolean AND $9::boolean AND e.drip_id = $1 AND e.state = 'active' AND e.next_run_at IS NULL
    UNION ALL
    -- Of very many: a thousand subscribers from each of a hundred places.
    SELECT
        e.subscriber_id,
        e.cursor_pos,
        e.anchor_at,
        e.next_run_at,
        e.attempts
    FROM (
        SELECT
            (SELECT k.subscriber_id FROM drip_enrollments AS k WHERE k.drip_id = $1 ORDER BY k.subscriber_id LIMIT 1) AS low,
            (
                SELECT k.subscriber_id FROM drip_enrollments AS k WHERE k.drip_id = $1 ORDER BY k.subscriber_id DESC LIMIT 1
            ) AS high
        WHERE $10::boolean
    ) AS span
    CROSS JOIN generate_series(0, 99) AS part
    CROSS JOIN LATERAL (
        SELECT
            k.subscriber_id,
            k.cursor_pos,
            k.anchor_at,
            k.next_run_at,
            k.attempts,
            k.state
        FROM drip_enrollments AS k
        WHERE
            k.drip_id = $1
            AND k.subscriber_id >= span.low + (span.high - span.low) * part / 100
            AND k.subscriber_id < span.low + (span.high - span.low) * (part + 1) / 100 + part / 99
        ORDER BY k.subscriber_id
        LIMIT 1000
    ) AS e
    WHERE e.state = 'active' AND (e.next_run_at IS NOT NULL OR $9)
),

reckoned AS MATERIALIZED (
    SELECT
        r.next_run_at AS was_at,
        (coming.id IS DISTINCT FROM present.id) AS is_other,
        (coming.id IS NULL AND NOT $8::boolean AND NOT idle.is_unconfirmed) AS completes,
        CASE
            -- A retry keeps its pause, whoever is not confirmed waits for that, and at the end of an evergreen drip one stays.
            WHEN
                r.attempts > 0
                OR idle.is_unconfirmed
                OR (r.next_run_at IS NULL AND coming.id IS NULL AND $8::boolean)
                THEN r.next_run_at
            ELSE
                drip_moved_to(
                    r.next_run_at,
                    CASE
                        WHEN coming.id IS NOT NULL
                            THEN
                                drip_due_at(
                                    r.anchor_at, coming.delay, coming.kind, coming.params,
                                    $4, d.brand_id, person.custom_fields, $5, $6, $7::smallint []
                                )
                    END,
                    $11
                )
        END AS is_at
    FROM runs AS r
    INNER JOIN drips AS d ON d.id = $1
    CROSS JOIN places AS p
    LEFT JOIN steps AS coming ON coming.number = width_bucket(r.cursor_pos::double precision, p.then_at) + 1
    LEFT JOIN steps_now AS present ON present.number = width_bucket(r.cursor_pos::double precision, p.now_at) + 1
    LEFT JOIN LATERAL (
        SELECT
            s.status,
            s.custom_fields
        FROM subscribers AS s
        WHERE s.id = r.subscriber_id AND ($4 = 'subscriber' OR r.next_run_at IS NULL)
        LIMIT 1
    ) AS person ON true
    CROSS JOIN LATERAL (
        SELECT r.next_run_at IS NULL AND (r.cursor_pos = 0 OR person.status IS DISTINCT FROM 'confirmed') AS is_unconfirmed
    ) AS idle
)

SELECT
    count(*)::int AS looked_at,
    count(*) FILTER (WHERE k.is_at IS DISTINCT FROM k.was_at)::int AS moved,
    count(*) FILTER (WHERE k.is_at < k.was_at)::int AS earlier,
    count(*) FILTER (WHERE k.is_at > k.was_at)::int AS later,
    count(*) FILTER (WHERE k.is_at IS DISTINCT FROM k.was_at AND k.is_at <= $11 + interval '1 hour' AND NOT k.completes)::int
        AS within_the_hour,
    count(*) FILTER (WHERE k.is_other)::int AS other_step,
    count(*) FILTER (WHERE k.completes)::int AS completing
FROM reckoned AS k;
