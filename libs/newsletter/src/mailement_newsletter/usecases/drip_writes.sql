-- name: look_up
-- The brand's topics of these, its fields, whether anybody would hear of a webhook step, and whether a drip has the name.
SELECT
    coalesce(t.slugs, '{}') AS slugs,
    coalesce(t.topic_ids, '{}') AS topic_ids,
    ARRAY(SELECT f.key FROM custom_fields AS f WHERE f.brand_id = $1 ORDER BY f.key) AS fields,
    EXISTS (
        SELECT
        FROM brands AS b
        INNER JOIN webhook_endpoints AS e ON b.account_id = e.account_id AND (e.brand_id = b.id OR e.brand_id IS NULL)
        WHERE b.id = $1 AND e.state <> 'deleted' AND $3::text = ANY(e.event_types)
    ) AS hears_webhooks,
    EXISTS (
        SELECT FROM drips AS d WHERE d.brand_id = $1 AND d.name = $4 AND d.id IS DISTINCT FROM $5::bigint
    ) AS name_is_taken
FROM (
    SELECT
        array_agg(k.slug ORDER BY k.id) AS slugs,
        array_agg(k.id ORDER BY k.id) AS topic_ids
    FROM topics AS k
    WHERE k.brand_id = $1 AND k.slug = ANY($2::text [])
) AS t;

-- name: insert_drip
-- A new drip.
INSERT INTO drips (
    brand_id,
    name,
    state,
    trigger,
    trigger_topic_id,
    trigger_event,
    trigger_field,
    trigger_days,
    trigger_yearly,
    trigger_time,
    re_enroll,
    catch_up,
    zone,
    window_start,
    window_end,
    window_days,
    exit_topic_ids,
    goal_events,
    evergreen,
    max_per_hour
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
RETURNING id, version;

-- name: update_drip
-- Another version of a drip.
UPDATE drips SET
    name = $2,
    state = $3,
    trigger = $4,
    trigger_topic_id = $5,
    trigger_event = $6,
    trigger_field = $7,
    trigger_days = $8,
    trigger_yearly = $9,
    trigger_time = $10,
    re_enroll = $11,
    catch_up = $12,
    zone = $13,
    window_start = $14,
    window_end = $15,
    window_days = $16,
    exit_topic_ids = $17,
    goal_events = $18,
    evergreen = $19,
    max_per_hour = $20,
    version = version + 1,
    updated_at = now()
WHERE id = $1
RETURNING id, version;

-- name: new_step_ids
-- Ids for steps that are about to be written.
SELECT nextval(pg_get_serial_sequence('drip_steps', 'id')) AS id
FROM generate_series(1, $1::int);

-- name: free_labels
-- Delete steps, and let go of the labels of the others: they may go from one to another.
UPDATE drip_steps AS s SET
    label = CASE WHEN s.id = ANY($2::bigint []) THEN s.label END,
    deleted_at = CASE WHEN s.id = ANY($2::bigint []) THEN now() END
WHERE s.drip_id = $1 AND s.deleted_at IS NULL;

-- name: write_steps
-- Put steps in, or write over them.
INSERT INTO drip_steps AS s (id, drip_id, position, delay, kind, label, topic_id, params, subject, html, body_text)
OVERRIDING SYSTEM VALUE
SELECT
    k.id,
    $1,
    k.position,
    justify_hours(make_interval(secs => k.seconds)),
    k.kind,
    k.label,
    k.topic_id,
    k.params,
    k.subject,
    k.html,
    k.body_text
FROM jsonb_to_recordset($2) AS k (
    id bigint, position int, seconds double precision, kind text, label text, topic_id bigint, params jsonb,
    subject text, html text, body_text text
)
ON CONFLICT (id) DO UPDATE SET
    position = excluded.position,
    delay = excluded.delay,
    kind = excluded.kind,
    label = excluded.label,
    topic_id = excluded.topic_id,
    params = excluded.params,
    subject = excluded.subject,
    html = excluded.html,
    body_text = excluded.body_text
WHERE s.drip_id = $1;

-- name: add_job
-- Work for the scheduler on all runs or subscribers of a drip.
INSERT INTO drip_jobs (drip_id, kind) VALUES ($1, $2);
