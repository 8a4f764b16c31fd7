-- Timed series. Delays live here and nowhere else; the broker only says that there is work.

CREATE TABLE drips (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    brand_id bigint NOT NULL REFERENCES brands (id),
    name text NOT NULL,
    state text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'paused', 'archived')),
    trigger text NOT NULL CHECK (trigger IN ('subscriber_confirmed', 'topic_added', 'manual')),
    trigger_topic_id bigint REFERENCES topics (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((trigger = 'topic_added') = (trigger_topic_id IS NOT NULL)),
    UNIQUE (brand_id, name)
);

CREATE TABLE drip_steps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    drip_id bigint NOT NULL REFERENCES drips (id),
    -- Steps stand 1024 apart, so that one can be put between two.
    position int NOT NULL CHECK (position > 0),
    delay interval NOT NULL CHECK (delay >= interval '0'),
    subject text NOT NULL,
    html text,
    body_text text,
    deleted_at timestamptz,
    CHECK (html IS NOT NULL OR body_text IS NOT NULL),
    UNIQUE (drip_id, position)
);

CREATE TABLE drip_enrollments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    drip_id bigint NOT NULL,
    brand_id bigint NOT NULL,
    subscriber_id bigint NOT NULL,
    run_no smallint NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'completed', 'exited', 'failed', 'cancelled')),
    -- The position of the last step that ran; it only moves forward, and it is no foreign key:
    -- the next step is the first live one behind it, whatever was inserted or deleted since.
    cursor_pos int NOT NULL DEFAULT 0,
    -- When that step ran, or when the subscriber was enrolled: the next delay counts from here.
    anchor_at timestamptz NOT NULL,
    -- NULL: waits for the subscriber's confirmation, or is over.
    next_run_at timestamptz,
    exit_reason text,
    enrolled_at timestamptz NOT NULL,
    UNIQUE (drip_id, subscriber_id, run_no)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01);

-- Leads with the subscriber, so that it also finds whatever ends when somebody leaves.
CREATE UNIQUE INDEX drip_enrollments_one_active ON drip_enrollments (subscriber_id, drip_id) WHERE state = 'active';

-- Leads with the drip: pausing costs nothing, drips are served in turn, and no claim rescans what is paused.
CREATE INDEX drip_enrollments_due ON drip_enrollments (drip_id, next_run_at)
WHERE state = 'active' AND next_run_at IS NOT NULL;
