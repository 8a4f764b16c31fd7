-- name: end_runs
-- End the runs that a removed topic or a reached goal puts an end to; what they had queued is cancelled with them.
WITH asked AS MATERIALIZED (
    SELECT
        e.brand_id,
        e.subscriber_id,
        coalesce(e.removed_topic_ids, '{}') AS removed_topic_ids,
        e.event
    FROM jsonb_to_recordset($1) AS e (
        brand_id bigint, subscriber_id bigint, removed_topic_ids bigint [], event text
    )
),

ending AS MATERIALIZED (
    SELECT DISTINCT ON (k.id)
        k.id,
        CASE WHEN a.event = ANY(d.goal_events) THEN 'goal' ELSE 'topic_removed' END AS reason
    FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT
            r.id,
            r.drip_id
        FROM drip_enrollments AS r
        WHERE r.subscriber_id = a.subscriber_id AND r.brand_id = a.brand_id AND r.state = 'active'
    ) AS k
    INNER JOIN drips AS d ON k.drip_id = d.id
    WHERE a.event = ANY(d.goal_events) OR d.exit_topic_ids && a.removed_topic_ids
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

cancelled AS (
    UPDATE messages AS m SET
        state = 'cancelled',
        error = 'drip_' || e.exit_reason,
        finished_at = now()
    FROM ended AS e
    WHERE
        m.subscriber_id = e.subscriber_id
        AND m.subscriber_id = ANY(ARRAY(SELECT x.subscriber_id FROM ended AS x))
        AND m.enrollment_id = e.id
        AND m.state = 'queued'
),

tallied AS (
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT e.drip_id, 'exited', count(*)
    FROM ended AS e
    GROUP BY e.drip_id
)

SELECT count(*)::int AS ended
FROM ended;
