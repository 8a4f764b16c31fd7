-- The mail ledger learns fairness (lanes), batches, who sent what through which account, and keeps every attempt.

ALTER TABLE messages
DROP CONSTRAINT messages_kind_check,
ADD CONSTRAINT messages_kind_check CHECK (kind IN ('drip', 'transactional', 'campaign')),
-- Whom the mail takes turns with, within its brand and kind: the drip's or the campaign's id.
ADD COLUMN lane bigint NOT NULL DEFAULT 0,
-- Of the last attempt. NULL: the brand's own words, the account of the settings.
ADD COLUMN sender_id bigint,
ADD COLUMN mail_account_id bigint,
-- Mails that went out in one request, and in which order: frozen before the first of its attempts.
ADD COLUMN batch_id uuid,
ADD COLUMN batch_position smallint,
-- Attempts that count against the schedule: not those that failed because of the account or the network.
ADD COLUMN tries int NOT NULL DEFAULT 0,
-- Counts up when a mail that cannot have been delivered gets a new idempotency key.
ADD COLUMN key_version smallint NOT NULL DEFAULT 0,
ADD COLUMN first_attempt_at timestamptz,
-- Of the attempt under way, or of the last one.
ADD COLUMN attempt_started_at timestamptz,
-- By a person.
ADD COLUMN opened_at timestamptz,
ADD COLUMN clicked_at timestamptz,
-- By a program: a proxy that loads pictures ahead of time, a scanner that follows links.
ADD COLUMN machine_opened_at timestamptz;

UPDATE messages SET
    lane = coalesce(drip_id, 0),
    tries = attempts
WHERE state IN ('queued', 'claimed', 'sending');

-- Leads to each lane by skipping from one to the next, and within it to what is due.
CREATE INDEX messages_lanes ON messages (priority, brand_id, kind, lane, not_before, id) WHERE state = 'queued';

DROP INDEX messages_ready;

-- What people look for first. Few rows are in it, so it costs the others nothing.
CREATE INDEX messages_in_trouble ON messages (brand_id, id) WHERE state IN ('failed', 'uncertain');

CREATE INDEX messages_by_brand ON messages (brand_id, id);

-- Every attempt, also those that a crash cut off.
CREATE TABLE message_attempts (
    message_id bigint NOT NULL,
    -- Counts up from 1 for each message.
    number int NOT NULL CHECK (number > 0),
    started_at timestamptz NOT NULL,
    provider text NOT NULL,
    mail_account_id bigint,
    sender_id bigint,
    outcome text NOT NULL CHECK (outcome IN ('sent', 'failed', 'retry', 'uncertain', 'interrupted')),
    -- The provider's own: 250, 550, 429, …
    code text,
    reason text,
    -- NULL: nobody was there any more to see the end.
    duration_ms int,
    PRIMARY KEY (message_id, number, started_at)
) PARTITION BY RANGE (started_at);

CREATE TABLE message_attempts_default PARTITION OF message_attempts DEFAULT;
