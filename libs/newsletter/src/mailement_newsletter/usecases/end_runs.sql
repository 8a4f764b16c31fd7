-- name: end_runs
-- End the runs that a removed topic, a reached goal, a subscriber's leaving or somebody's wish puts an end to.
WITH asked AS MATERIALIZED (
    SELECT
        e.brand_id,
        e.subscriber_id,
        coalesce(e.removed_topic_ids, '{}') AS removed_topic_ids,
        e.event,
        e.run_id,
        e.left_as,
        e.left_at
    FROM jsonb_to_recordset($1) AS e (
        brand_id bigint, subscriber_id bigint, removed_topic_ids bigint [], event text, run_id bigint, left_as text, left_at timestamptz
    )
),

ending AS MATERIALIZED (
    SELECT DISTINCT ON (k.id)
        k.id,
        CASE
            WHEN k.enrolled_at <= a.left_at THEN a.left_as
            WHEN a.event = ANY(d.goal_events) THEN 'goal'
            WHEN k.id = a.run_id THEN 'removed'
            ELSE 'topic_removed'
        END AS reason
    FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT
            r.id,
            r.drip_id,
            r.enrolled_at
        FROM drip_enrollments AS r
        WHERE r.subscriber_id = a.subscriber_id AND r.brand_id = a.brand_id AND r.state = 'active'
    ) AS k
    INNER JOIN drips AS d ON k.drip_id = d.id
    WHERE
        a.event = ANY(d.goal_events)
        OR k.id = a.run_id
        OR d.exit_topic_ids && a.removed_topic_ids
        -- Leaving has ended them already, but for one that somebody enrolled at the same moment.
        OR k.enrolled_at <= a.left_at
    ORDER BY k.id
),

ended AS (
    UPDATE drip_enrollments AS e SET
        state = 'exited',
        exit_reason = n.reason,
        next_run_at = NULL,
        ended_at = now()
    FROM ending AS n
    WHERE e.id = n.id AND e.id = ANY(ARRAY(SELECT x.id FROM ending AS x)) AND e.state = 'active'
    RETURNING e.id, e.drip_id, e.subscriber_id, e.exit_reason
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT e.drip_id, 'exited', count(*)
    FROM ended AS e
    GROUP BY e.drip_id
)

SELECT
    e.id,
    e.subscriber_id,
    'drip_' || e.exit_reason AS reason
FROM ended AS e;
