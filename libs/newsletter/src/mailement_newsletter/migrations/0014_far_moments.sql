-- Nothing lies beyond the year 2999, which people write who mean never: sums of it go beyond what a client can read.

-- The moment that a `wait_until` step waits for: a date, which may be over already, or the next of these weekdays.
CREATE OR REPLACE FUNCTION next_moment(t timestamptz, tz text, params jsonb) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN params ? 'date' THEN
            greatest(t, (least((params ->> 'date')::date, date '2999-12-31') + coalesce(params ->> 'time', '00:00')::time) AT TIME ZONE tz)
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

-- The first moment behind `since` at which a date trigger fires; NULL: never, which years from 3000 on mean too. The 29th of
-- February is kept on the 28th.
CREATE OR REPLACE FUNCTION drip_date_due(
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
        RETURN CASE WHEN moment > since AND moment < timestamptz '3000-01-01 00:00+00' THEN moment END;
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

-- What was reckoned so far; by drip, so that the index on both finds the few.
UPDATE drip_enrollments AS e SET next_run_at = timestamptz '2999-12-31 00:00+00'
WHERE
    e.state = 'active'
    AND e.drip_id = ANY(ARRAY(SELECT d.id FROM drips AS d))
    AND e.next_run_at >= timestamptz '3000-01-01 00:00+00';

DELETE FROM drip_dates AS k
WHERE
    k.drip_id = ANY(ARRAY(SELECT d.id FROM drips AS d))
    AND k.due_at >= timestamptz '3000-01-01 00:00+00';
