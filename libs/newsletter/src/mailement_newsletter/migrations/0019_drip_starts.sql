-- Who begins a drip: the policy in one place, plans of dates that do not go back, windows that are never open for no time.

-- Of which version of the subscriber a date was reckoned: what was read before a change is not written behind it.
ALTER TABLE drip_dates ADD COLUMN subscriber_version int NOT NULL DEFAULT 0;

-- The scheduler hears of events late, twice and in other batches than they happened in: what begins and ends a run is
-- compared by the moments of the events.
ALTER TABLE drip_enrollments
-- When the event happened that is the run's cause; of other runs, when they began. NULL: as `enrolled_at` says.
ADD COLUMN caused_at timestamptz,
-- When the event happened that ended the run. NULL: none did, and `ended_at` says it.
ADD COLUMN farewell_at timestamptz;

-- Apart from the column: runs that there are do not begin now.
ALTER TABLE drip_enrollments ALTER COLUMN caused_at SET DEFAULT now();

-- What a drip's policy says to somebody who would enter: `begin`, `anew` (the run that is active gives way), NULL: not now.
CREATE FUNCTION drip_entry(re_enroll text, last_run smallint, active_run bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN last_run IS NULL THEN 'begin'
        WHEN last_run = 32767 OR re_enroll = 'never' THEN NULL
        WHEN active_run IS NULL THEN 'begin'
        WHEN re_enroll = 'always' THEN 'anew'
    END
$$;

-- The first moment at or behind `t` that lies in the window. Local hours are made moments day by day, so that a day of
-- 23 or 25 hours, or an hour that does not exist, needs no rule of its own. A window within the hour that a change of
-- clocks leaves out does not open on that day; if it is the only one of its week, it opens a week later.
CREATE OR REPLACE FUNCTION next_in_window(t timestamptz, tz text, opens time, closes time, days smallint [])
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT min(greatest(t, w.opening))
    FROM (
        SELECT
            (d.day + opens) AT TIME ZONE tz AS opening,
            (d.day + CASE WHEN closes <= opens THEN 1 ELSE 0 END + closes) AT TIME ZONE tz AS closing
        FROM (SELECT (t AT TIME ZONE tz)::date + n AS day FROM generate_series(-1, 15) AS n) AS d
        WHERE extract(ISODOW FROM d.day)::smallint = ANY(days)
    ) AS w
    WHERE t < w.closing AND w.opening < w.closing
$$;
