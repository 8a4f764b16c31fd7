-- What was counted by looking until now. Apart from the tables' change, which nobody should have to wait for.

INSERT INTO drip_tallies (drip_id, what, n)
SELECT e.drip_id, 'enrolled', count(*) FROM drip_enrollments AS e GROUP BY e.drip_id
UNION ALL
SELECT e.drip_id, e.state, count(*) FROM drip_enrollments AS e WHERE e.state <> 'active' GROUP BY e.drip_id, e.state;

INSERT INTO drip_tallies (drip_id, step_id, what, n)
SELECT m.drip_id, coalesce(m.drip_step_id, 0), w.what, count(*)
FROM messages AS m
CROSS JOIN LATERAL unnest(ARRAY['ran', m.state]) AS w (what)
WHERE m.kind = 'drip' AND w.what NOT IN ('queued', 'claimed', 'sending')
GROUP BY m.drip_id, m.drip_step_id, w.what;

-- Services of the previous release that still run do not count: once they are gone, it is counted again.
INSERT INTO drip_jobs (drip_id, kind, not_before)
SELECT d.id, 'recount', now() + interval '15 minutes' FROM drips AS d;
