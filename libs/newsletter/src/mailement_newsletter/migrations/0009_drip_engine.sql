-- The drip engine: kinds of steps, triggers, windows, policies, and what a run leaves behind.

-- Names that AT TIME ZONE takes, so that a subscriber's own word for his zone can be looked up and never raises.
CREATE TABLE timezones (name text PRIMARY KEY);

INSERT INTO timezones (name)
SELECT z.name
FROM pg_timezone_names AS z
WHERE z.name !~ '^(posix|right)/' AND z.name NOT IN ('localtime', 'posixrules', 'Factory');

-- People do not mind how it is written.
CREATE UNIQUE INDEX timezones_lower_name ON timezones (lower(name));

ALTER TABLE brands ADD COLUMN timezone text NOT NULL DEFAULT 'UTC' REFERENCES timezones (name);

ALTER TABLE drips
DROP CONSTRAINT drips_state_check,
DROP CONSTRAINT drips_trigger_check,
ADD COLUMN trigger_event text,
-- A custom field that holds a date (YYYY-MM-DD), and how many days behind it the drip begins; negative: before it.
ADD COLUMN trigger_field text,
ADD COLUMN trigger_days int,
ADD COLUMN trigger_yearly boolean NOT NULL DEFAULT false,
ADD COLUMN trigger_time time NOT NULL DEFAULT '09:00',
ADD COLUMN re_enroll text NOT NULL DEFAULT 'never' CHECK (re_enroll IN ('never', 'after_end', 'always')),
ADD COLUMN catch_up text NOT NULL DEFAULT 'shift' CHECK (catch_up IN ('shift', 'skip')),
-- Set when a drip with `skip` is resumed: mails that were due before it are left out.
ADD COLUMN skip_due_before timestamptz,
ADD COLUMN zone text NOT NULL DEFAULT 'brand' CHECK (zone IN ('brand', 'subscriber')),
-- A window that closes before it opens lasts over midnight; its day is the one on which it opens (1: Monday).
ADD COLUMN window_start time,
ADD COLUMN window_end time,
ADD COLUMN window_days smallint [] NOT NULL DEFAULT '{1,2,3,4,5,6,7}',
ADD COLUMN exit_topic_ids bigint [] NOT NULL DEFAULT '{}',
ADD COLUMN goal_events text [] NOT NULL DEFAULT '{}',
-- Whoever has come to the end waits there for steps that are added later.
ADD COLUMN evergreen boolean NOT NULL DEFAULT false,
ADD COLUMN max_per_hour int CHECK (max_per_hour > 0),
-- Up to here the hourly allowance is used (GCRA's theoretical arrival time).
ADD COLUMN paced_until timestamptz,
ADD COLUMN version int NOT NULL DEFAULT 1,
ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
ADD CONSTRAINT drips_state_check CHECK (state IN ('draft', 'live', 'paused', 'archived')),
ADD CONSTRAINT drips_trigger_check
CHECK (trigger IN ('subscriber_confirmed', 'topic_added', 'manual', 'event', 'date')),
ADD CONSTRAINT drips_trigger_event_check CHECK ((trigger = 'event') = (trigger_event IS NOT NULL)),
ADD CONSTRAINT drips_trigger_date_check
CHECK ((trigger = 'date') = (trigger_field IS NOT NULL AND trigger_days IS NOT NULL)),
ADD CONSTRAINT drips_window_check CHECK ((window_start IS NULL) = (window_end IS NULL) AND window_days <> '{}');

ALTER TABLE drip_steps
ALTER COLUMN subject DROP NOT NULL,
DROP CONSTRAINT drip_steps_check,
-- Checked at the end of a statement, so that one statement can put steps into another order.
DROP CONSTRAINT drip_steps_drip_id_position_key,
ADD CONSTRAINT drip_steps_drip_id_position_key UNIQUE (drip_id, position) DEFERRABLE INITIALLY IMMEDIATE,
ADD COLUMN kind text NOT NULL DEFAULT 'send'
CHECK (kind IN ('send', 'delay', 'wait_until', 'condition', 'add_topic', 'remove_topic', 'webhook', 'exit')),
-- What other steps and people call it.
ADD COLUMN label text,
ADD COLUMN topic_id bigint REFERENCES topics (id),
-- wait_until: {"date", "weekdays", "time"}; condition: {"if", "then", "otherwise"}; exit: {"reason"}; webhook: {"name"}.
ADD COLUMN params jsonb NOT NULL DEFAULT '{}',
ADD CONSTRAINT drip_steps_send_check
CHECK (kind <> 'send' OR (subject IS NOT NULL AND (html IS NOT NULL OR body_text IS NOT NULL))),
ADD CONSTRAINT drip_steps_topic_check CHECK ((kind IN ('add_topic', 'remove_topic')) = (topic_id IS NOT NULL));

CREATE UNIQUE INDEX drip_steps_label ON drip_steps (drip_id, label) WHERE deleted_at IS NULL;

ALTER TABLE drip_enrollments
-- The event that caused this run: a copy of the event starts no other.
ADD COLUMN cause uuid,
ADD COLUMN attempts smallint NOT NULL DEFAULT 0,
ADD COLUMN error text,
ADD COLUMN ended_at timestamptz;

-- When a drip with a date trigger begins for whom; kept by the scheduler as subscribers change.
CREATE TABLE drip_dates (
    drip_id bigint NOT NULL,
    subscriber_id bigint NOT NULL,
    brand_id bigint NOT NULL,
    due_at timestamptz NOT NULL,
    PRIMARY KEY (drip_id, subscriber_id)
);

CREATE INDEX drip_dates_due ON drip_dates (drip_id, due_at);

-- Work on all runs or subscribers of a drip, done in slices by subscriber: `after_id` is where the last one ended.
CREATE TABLE drip_jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    drip_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('retime', 'plan_dates', 'recount')),
    after_id bigint NOT NULL DEFAULT 0,
    -- Done twice, the second time when no statement can still run that has seen what was before.
    pass smallint NOT NULL DEFAULT 1,
    not_before timestamptz NOT NULL DEFAULT now(),
    attempts smallint NOT NULL DEFAULT 0,
    error text,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What happened in a run beside its mails, which are rows of `messages`.
CREATE TABLE drip_run_events (
    enrollment_id bigint NOT NULL,
    drip_id bigint NOT NULL,
    step_id bigint,
    kind text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (at);

CREATE TABLE drip_run_events_default PARTITION OF drip_run_events DEFAULT;

CREATE INDEX drip_run_events_enrollment_id_idx ON drip_run_events (enrollment_id, at);

-- Counts, appended by whoever counts and folded into few rows by the scheduler: nobody waits for a counter.
-- `step_id` 0: of the drip itself.
CREATE TABLE drip_tallies (
    drip_id bigint NOT NULL,
    step_id bigint NOT NULL DEFAULT 0,
    what text NOT NULL,
    n bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE INDEX drip_tallies_drip_id_idx ON drip_tallies (drip_id);

-- Numbers of events that integrators report.
CREATE SEQUENCE custom_event_number;

-- The zone in which a drip reckons for a subscriber: his own, if his field `timezone` names one, or the brand's.
CREATE FUNCTION drip_zone(zone text, of_brand bigint, fields jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        CASE WHEN zone = 'subscriber' THEN (SELECT z.name FROM timezones AS z WHERE lower(z.name) = lower(fields ->> 'timezone')) END,
        (SELECT b.timezone FROM brands AS b WHERE b.id = of_brand),
        'UTC'
    )
$$;

-- The first moment at or behind `t` that lies in the window. Local hours are made moments day by day, so that a day of
-- 23 or 25 hours, or an hour that does not exist, needs no rule of its own.
CREATE FUNCTION next_in_window(t timestamptz, tz text, opens time, closes time, days smallint []) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT min(greatest(t, (d.day + opens) AT TIME ZONE tz))
    FROM (SELECT (t AT TIME ZONE tz)::date + n AS day FROM generate_series(-1, 8) AS n) AS d
    WHERE
        extract(ISODOW FROM d.day)::smallint = ANY(days)
        AND t < (d.day + CASE WHEN closes <= opens THEN 1 ELSE 0 END + closes) AT TIME ZONE tz
$$;

-- The moment that a `wait_until` step waits for: a date, which may be over already, or the next of these weekdays.
CREATE FUNCTION next_moment(t timestamptz, tz text, params jsonb) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN params ? 'date' THEN
            greatest(t, ((params ->> 'date')::date + coalesce(params ->> 'time', '00:00')::time) AT TIME ZONE tz)
        ELSE (
            SELECT min(m.moment)
            FROM (
                SELECT (d.day + coalesce(params ->> 'time', '00:00')::time) AT TIME ZONE tz AS moment
                FROM (SELECT (t AT TIME ZONE tz)::date + n AS day FROM generate_series(-1, 8) AS n) AS d
                WHERE
                    NOT params ? 'weekdays'
                    OR params -> 'weekdays' @> to_jsonb(extract(ISODOW FROM d.day)::int)
            ) AS m
            WHERE m.moment >= t
        )
    END
$$;

-- When a step is due whose predecessor ran at `anchor`. One expression without a look-up, so that the planner puts it
-- in place of the call: most steps are a sum.
CREATE FUNCTION drip_due_at(
    anchor timestamptz, delay interval, kind text, params jsonb,
    zone text, of_brand bigint, fields jsonb, opens time, closes time, days smallint []
) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN kind = 'wait_until' THEN next_moment(anchor + delay, drip_zone(zone, of_brand, fields), params)
        WHEN kind = 'send' AND opens IS NOT NULL
            THEN next_in_window(anchor + delay, drip_zone(zone, of_brand, fields), opens, closes, days)
        ELSE anchor + delay
    END
$$;

-- A number, where the text is one; NULL otherwise, whatever it is.
CREATE FUNCTION number_in(value text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value ~ '^\s*-?[0-9]{1,30}(\.[0-9]{1,30})?\s*$' THEN value::numeric END
$$;

-- Whether a condition holds for a subscriber in a run. Opens and clicks are a person's; a machine's are kept elsewhere.
CREATE FUNCTION drip_condition_holds(condition jsonb, s subscribers, run bigint) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    value text;
BEGIN
    IF condition ? 'all' THEN
        RETURN NOT EXISTS (
            SELECT FROM jsonb_array_elements(condition -> 'all') AS c (part)
            WHERE NOT drip_condition_holds(c.part, s, run)
        );
    ELSIF condition ? 'any' THEN
        RETURN EXISTS (
            SELECT FROM jsonb_array_elements(condition -> 'any') AS c (part)
            WHERE drip_condition_holds(c.part, s, run)
        );
    ELSIF condition ? 'not' THEN
        RETURN NOT drip_condition_holds(condition -> 'not', s, run);
    ELSIF condition ? 'always' THEN
        RETURN true;
    ELSIF condition ? 'topic_id' THEN
        RETURN (condition ->> 'topic_id')::bigint = ANY(s.topic_ids);
    ELSIF condition ? 'opened' THEN
        RETURN EXISTS (
            SELECT FROM messages AS m
            WHERE
                m.dedupe_key = 'drip:' || run || ':' || (condition ->> 'opened')
                AND (m.opened_at IS NOT NULL OR m.clicked_at IS NOT NULL)
        );
    ELSIF condition ? 'clicked' THEN
        RETURN EXISTS (
            SELECT FROM messages AS m
            WHERE m.dedupe_key = 'drip:' || run || ':' || (condition ->> 'clicked') AND m.clicked_at IS NOT NULL
        );
    END IF;
    value := CASE condition ->> 'field'
        WHEN 'email' THEN s.email
        WHEN 'first_name' THEN s.first_name
        WHEN 'last_name' THEN s.last_name
        WHEN 'city' THEN s.city
        WHEN 'source' THEN s.source
        ELSE s.custom_fields ->> (condition ->> 'field')
    END;
    RETURN coalesce(
        CASE
            WHEN condition ? 'exists' THEN (value IS NOT NULL AND value <> '') = (condition ->> 'exists')::boolean
            WHEN condition ? 'is' THEN lower(value) = lower(condition ->> 'is')
            WHEN condition ? 'is_not' THEN lower(value) IS DISTINCT FROM lower(condition ->> 'is_not')
            WHEN condition ? 'in' THEN lower(value) IN (SELECT lower(x) FROM jsonb_array_elements_text(condition -> 'in') AS i (x))
            WHEN condition ? 'contains' THEN strpos(lower(value), lower(condition ->> 'contains')) > 0
            WHEN condition ? 'above' THEN number_in(value) > (condition ->> 'above')::numeric
            WHEN condition ? 'below' THEN number_in(value) < (condition ->> 'below')::numeric
        END,
        false
    );
END
$$;

-- Where the cursor stands behind a condition: at the step itself, or just before the one that it leads to. Never back.
-- A step that was deleted since leads to the first live one behind its place.
CREATE FUNCTION drip_cursor_behind(at_position int, target jsonb) RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT greatest(
        at_position,
        CASE
            WHEN jsonb_typeof(target) = 'number'
                THEN (SELECT t.position - 1 FROM drip_steps AS t WHERE t.id = (target #>> '{}')::bigint)
        END
    )
$$;

-- The first moment behind `since` at which a date trigger fires; NULL: never. The 29th of February is kept on the 28th.
CREATE FUNCTION drip_date_due(
    value text, days int, yearly boolean, at_time time, tz text, since timestamptz
) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    given date;
    moment timestamptz;
BEGIN
    IF value !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' OR left(value, 4) = '0000' THEN
        RETURN NULL;
    END IF;
    BEGIN
        given := make_date(left(value, 4)::int, substr(value, 6, 2)::int, substr(value, 9, 2)::int);
    EXCEPTION WHEN datetime_field_overflow THEN
        RETURN NULL;
    END;
    IF NOT yearly THEN
        moment := (given + days + at_time) AT TIME ZONE tz;
        RETURN CASE WHEN moment > since THEN moment END;
    END IF;
    FOR year IN extract(YEAR FROM since AT TIME ZONE tz)::int - 2 .. extract(YEAR FROM since AT TIME ZONE tz)::int + 3 LOOP
        moment := (
            (make_date(year, 1, 1) + make_interval(months => extract(MONTH FROM given)::int - 1))::date
            + least(
                extract(DAY FROM given)::int,
                extract(
                    DAY FROM make_date(year, 1, 1) + make_interval(months => extract(MONTH FROM given)::int) - interval '1 day'
                )::int
            ) - 1 + days + at_time
        ) AT TIME ZONE tz;
        IF moment > since THEN
            RETURN moment;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
