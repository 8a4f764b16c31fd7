-- name: end_runs
-- End the runs that a removed topic, a reached goal, a subscriber's leaving or somebody's wish puts an end to.
WITH asked AS MATERIALIZED (
    SELECT
        e.happened_at,
        e.brand_id,
        e.subscriber_id,
        coalesce(e.removed_topic_ids, '{}') AS removed_topic_ids,
        e.event,
        e.run_id,
        e.left_as
    FROM jsonb_to_recordset($1) AS e (
        happened_at timestamptz, brand_id bigint, subscriber_id bigint, removed_topic_ids bigint [], event text, run_id bigint, left_as text
    )
),

ending AS MATERIALIZED (
    SELECT DISTINCT ON (k.id)
        k.id,
        n.reason,
        a.happened_at
    FROM asked AS a
    -- Two looks, because each state has an index of its own.
    CROSS JOIN LATERAL (
        SELECT
            r.id,
            r.drip_id,
            r.enrolled_at,
            coalesce(r.caused_at, r.enrolled_at) AS caused_at
        FROM drip_enrollments AS r
        WHERE r.subscriber_id = a.subscriber_id AND r.brand_id = a.brand_id AND r.state = 'active'
        UNION ALL
        SELECT
            r.id,
            r.drip_id,
            r.enrolled_at,
            coalesce(r.caused_at, r.enrolled_at) AS caused_at
        FROM drip_enrollments AS r
        WHERE r.subscriber_id = a.subscriber_id AND r.brand_id = a.brand_id AND r.state = 'failed'
    ) AS k
    INNER JOIN drips AS d ON k.drip_id = d.id
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN k.id = a.run_id THEN 'removed'
                -- Leaving has ended them already, but for what failed, and one that somebody enrolled at the same moment.
                WHEN k.enrolled_at <= a.happened_at AND a.left_as IS NOT NULL THEN a.left_as
                -- At the same moment it is the event itself, which has ended one run as its goal and begun this one, or a copy.
                WHEN k.caused_at >= a.happened_at THEN NULL
                WHEN a.event = ANY(d.goal_events) THEN 'goal'
                WHEN d.exit_topic_ids && a.removed_topic_ids THEN 'topic_removed'
            END AS reason
    ) AS n
    WHERE n.reason IS NOT NULL
    ORDER BY k.id, a.happened_at
),

-- In the state in which they are by now: it counts in the numbers.
held AS MATERIALIZED (
    SELECT
        r.id,
        r.state
    FROM drip_enrollments AS r
    WHERE r.id = ANY(ARRAY(SELECT n.id FROM ending AS n)) AND r.state IN ('active', 'failed')
    ORDER BY r.id
    FOR NO KEY UPDATE
),

ended AS (
    UPDATE drip_enrollments AS e SET
        state = 'exited',
        exit_reason = n.reason,
        next_run_at = NULL,
        ended_at = now(),
        farewell_at = n.happened_at
    FROM ending AS n
    INNER JOIN held AS h ON n.id = h.id
    WHERE e.id = n.id AND e.id = ANY(ARRAY(SELECT x.id FROM held AS x))
    RETURNING e.id, e.drip_id, e.subscriber_id, e.exit_reason, h.state AS was
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT e.drip_id, 'exited', count(*)
    FROM ended AS e
    GROUP BY e.drip_id
    UNION ALL
    SELECT e.drip_id, 'failed', -count(*)
    FROM ended AS e
    WHERE e.was = 'failed'
    GROUP BY e.drip_id
)

SELECT
    e.id,
    e.subscriber_id,
    'drip_' || e.exit_reason AS reason
FROM ended AS e;
