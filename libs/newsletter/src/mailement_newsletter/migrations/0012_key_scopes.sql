-- What a key may do beside the documented calls and reading: `drips:write`, `events:write`.
ALTER TABLE api_keys ADD COLUMN scopes text [] NOT NULL DEFAULT '{}';

-- Whoever may look after drips looks for the runs that failed. Few rows are in it, so it costs the others nothing.
CREATE INDEX drip_enrollments_failed ON drip_enrollments (drip_id, subscriber_id, run_no) WHERE state = 'failed';
