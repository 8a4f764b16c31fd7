-- What edits leave to be done takes turns; folding counts costs what was counted since; one word on who is moved to which moment.

ALTER TABLE drip_jobs
-- Whichever job was worked on longest ago is next.
ADD COLUMN worked_at timestamptz NOT NULL DEFAULT now(),
-- respace: {"old": […], "new": […]}, where the drip's steps stood and stand.
ADD COLUMN params jsonb NOT NULL DEFAULT '{}',
DROP CONSTRAINT drip_jobs_kind_check,
ADD CONSTRAINT drip_jobs_kind_check
CHECK (kind IN ('retime', 'plan_dates', 'forget_dates', 'recount', 'respace'));

-- A sum, of which there is one for each of what is counted; the others were appended and are to be added to it.
ALTER TABLE drip_tallies ADD COLUMN folded boolean NOT NULL DEFAULT false;

CREATE UNIQUE INDEX drip_tallies_sums ON drip_tallies (drip_id, step_id, what) WHERE folded;

CREATE INDEX drip_tallies_appended ON drip_tallies (drip_id) WHERE NOT folded;

-- When the next step of a run is due that is reckoned anew to be due at `due`. What is over by now is due now. What was due
-- already, and still is, keeps its moment: a drip that skips looks at how old it is.
CREATE FUNCTION drip_moved_to(was timestamptz, due timestamptz, since timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN was <= since AND coalesce(due, since) <= since THEN was ELSE greatest(due, since) END
$$;
