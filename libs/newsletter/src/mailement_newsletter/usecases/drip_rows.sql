-- name: find
-- A drip of the brand, with the zone that the brand reckons in.
SELECT
    d.id,
    d.name,
    d.state,
    d.trigger,
    d.trigger_topic_id,
    d.trigger_event,
    d.trigger_field,
    d.trigger_days,
    d.trigger_yearly,
    d.trigger_time,
    d.re_enroll,
    d.catch_up,
    d.skip_due_before,
    d.zone,
    d.window_start,
    d.window_end,
    d.window_days,
    d.exit_topic_ids,
    d.goal_events,
    d.evergreen,
    d.max_per_hour,
    d.paced_until,
    d.version,
    d.created_at,
    d.updated_at,
    b.timezone
FROM drips AS d
INNER JOIN brands AS b ON d.brand_id = b.id
WHERE d.brand_id = $1 AND d.id = $2;

-- name: lock
-- Nobody else edits a drip before the transaction ends.
SELECT d.id
FROM drips AS d
WHERE d.brand_id = $1 AND d.id = $2
FOR NO KEY UPDATE;

-- name: exists
-- Whether the brand has such a drip, without its words.
SELECT EXISTS (SELECT FROM drips AS d WHERE d.brand_id = $1 AND d.id = $2);

-- name: steps
-- The steps of a drip in their order, those that were deleted too.
SELECT
    s.id,
    s.position,
    s.delay,
    s.kind,
    s.label,
    s.topic_id,
    s.params,
    s.subject,
    s.html,
    s.body_text,
    s.deleted_at
FROM drip_steps AS s
WHERE s.drip_id = $1
ORDER BY s.position;

-- name: topics
-- What topics are called.
SELECT
    t.id,
    t.slug
FROM topics AS t
WHERE t.id = ANY($1::bigint []);

-- name: numbers
-- How many runs of some drips have begun, and how they have ended: from the tallies, whatever the number of runs.
SELECT
    d.drip_id,
    jsonb_object_agg(t.what, t.n) AS counts
FROM unnest($1::bigint []) AS d (drip_id)
CROSS JOIN LATERAL (
    SELECT
        k.what,
        sum(k.n)::bigint AS n
    FROM drip_tallies AS k
    WHERE k.drip_id = d.drip_id AND k.step_id = 0
    GROUP BY k.what
) AS t
GROUP BY d.drip_id;
