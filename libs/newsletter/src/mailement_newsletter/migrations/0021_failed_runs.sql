DROP INDEX CONCURRENTLY IF EXISTS drip_enrollments_failed;

-- What else than active runs ends when somebody leaves or reaches a goal. Only what fails is written to it.
CREATE INDEX CONCURRENTLY drip_enrollments_failed ON drip_enrollments (subscriber_id) WHERE state = 'failed';
