-- Webhooks again, in one piece: what waits stands in a small queue, what was stands in a ledger by months.
--
-- webhook_events, webhook_deliveries and webhook_attempts stay for one release, because the previous one writes to them
-- until it is stopped: what is finished there is copied here, and the dispatcher adopts what still waits.

-- The endpoint: limits, order, retries, two-phase secrets, and a version that tells every process of a change.

ALTER TABLE webhook_endpoints
DROP CONSTRAINT webhook_endpoints_state_check,
ADD CONSTRAINT webhook_endpoints_state_check CHECK (state IN ('enabled', 'paused', 'disabled', 'deleted')),
ADD COLUMN state_reason text,
ADD COLUMN state_changed_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN description text,
-- Who was set up before there were retries was promised none.
ADD COLUMN retries text NOT NULL DEFAULT 'once' CHECK (retries IN ('schedule', 'once')),
-- Events of one subscriber wait for one another.
ADD COLUMN ordered boolean NOT NULL DEFAULT false,
-- NULL: the dispatcher's setting.
ADD COLUMN max_in_flight int CHECK (max_in_flight BETWEEN 1 AND 1000),
-- NULL: no limit.
ADD COLUMN rate_per_second double precision CHECK (rate_per_second > 0),
-- Signs beside the active secret before it takes its place, and after.
ADD COLUMN secret_staged_sealed text,
ADD COLUMN secret_staged_at timestamptz,
ADD COLUMN secret_previous_sealed text,
ADD COLUMN secret_promoted_at timestamptz,
-- What waits up to this sequence is not sent any more; housekeeping writes so into the ledger and takes the mark away.
ADD COLUMN discard_through bigint,
ADD COLUMN discard_reason text,
-- What came into the queue later, because people asked for it again, is not meant.
ADD COLUMN discard_as_of timestamptz,
-- The endpoints of a brand have one owner among the dispatchers, so that limits hold exactly.
ADD COLUMN shard int NOT NULL GENERATED ALWAYS AS (mod(coalesce(brand_id, account_id), 64)::int) STORED,
ADD COLUMN version bigint NOT NULL DEFAULT 1;

ALTER TABLE webhook_endpoints ALTER COLUMN retries SET DEFAULT 'schedule';

CREATE INDEX webhook_endpoints_enabled_idx ON webhook_endpoints (id) INCLUDE (shard) WHERE state = 'enabled';

CREATE INDEX webhook_endpoints_of_every_brand_idx ON webhook_endpoints (account_id)
WHERE brand_id IS NULL AND state <> 'deleted';

CREATE INDEX webhook_endpoints_holding_idx ON webhook_endpoints (id) WHERE state IN ('paused', 'disabled');

CREATE INDEX webhook_endpoints_discarding_idx ON webhook_endpoints (id) WHERE discard_through IS NOT NULL;

CREATE FUNCTION webhook_endpoint_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    new.version := old.version + 1;
    IF new.discard_through IS DISTINCT FROM old.discard_through THEN
        new.discard_as_of := CASE WHEN new.discard_through IS NOT NULL THEN now() END;
    END IF;
    IF new.state <> old.state THEN
        new.state_changed_at := now();
        IF new.state = 'deleted' THEN
            new.discard_through := 9223372036854775807;
            new.discard_reason := 'endpoint_deleted';
            -- Events that were matched before the deletion may come into the queue after it.
            new.discard_as_of := 'infinity';
        END IF;
    END IF;
    PERFORM pg_notify('webhook_endpoint_changed', new.id::text);
    RETURN new;
END
$$;

CREATE TRIGGER webhook_endpoint_changed BEFORE UPDATE ON webhook_endpoints
FOR EACH ROW EXECUTE FUNCTION webhook_endpoint_changed();

-- How an endpoint fares, as its owner last saw it: a restart must not forget it, and explain must be able to say it.
CREATE TABLE webhook_endpoint_health (
    endpoint_id bigint PRIMARY KEY REFERENCES webhook_endpoints (id),
    -- Since the last success, as all the counts.
    consecutive_failures int NOT NULL DEFAULT 0,
    -- Distinct days (UTC) with a failure.
    failure_days int NOT NULL DEFAULT 0,
    last_failure_day date,
    first_failure_at timestamptz,
    last_success_at timestamptz,
    gone_in_a_row int NOT NULL DEFAULT 0,
    -- How often the breaker opened since it last closed.
    breaker_trips int NOT NULL DEFAULT 0,
    -- Nothing is sent before then, except a probe after it.
    hold_until timestamptz,
    hold_reason text CHECK (hold_reason IN ('breaker', 'asked_to_wait')),
    -- Per cent of the time to being disabled that endpoint.failing was last told at.
    told int NOT NULL DEFAULT 0,
    -- How often people enabled it: what its owner learned before then does not count any more.
    fresh_starts int NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- The last number that an endpoint's deliveries were given. In a row of its own, because every batch of events writes it.
CREATE TABLE webhook_endpoint_sequences (
    endpoint_id bigint PRIMARY KEY REFERENCES webhook_endpoints (id),
    last bigint NOT NULL
) WITH (fillfactor = 50);

-- The ledger. All three go by the moment of the event, which all copies of an event agree on: so an event, its deliveries and
-- their attempts stand in the same month, and (event, endpoint) is unique although the table is in parts.

-- The bytes that are signed and sent, once for all endpoints of a profile. NULL: removed.
CREATE TABLE delivery_payloads (
    event_id uuid NOT NULL,
    profile text NOT NULL,
    occurred_at timestamptz NOT NULL,
    brand_id bigint NOT NULL,
    type text NOT NULL,
    body bytea,
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, profile, occurred_at)
) PARTITION BY RANGE (occurred_at);

CREATE TABLE deliveries (
    id bigint GENERATED BY DEFAULT AS IDENTITY,
    occurred_at timestamptz NOT NULL,
    event_id uuid NOT NULL,
    endpoint_id bigint NOT NULL,
    brand_id bigint NOT NULL,
    -- Counts up by one for each endpoint, without gaps.
    sequence bigint NOT NULL,
    type text NOT NULL,
    -- pending as long as it stands in delivery_queue.
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'discarded')),
    reason text,
    attempts int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (id, occurred_at),
    UNIQUE (event_id, endpoint_id, occurred_at)
) PARTITION BY RANGE (occurred_at);

-- No index speaks of the state: so that finishing a delivery rewrites its row in place and touches none of them.
CREATE INDEX deliveries_endpoint_id_idx ON deliveries (endpoint_id, sequence);

CREATE INDEX deliveries_brand_id_idx ON deliveries (brand_id, id);

CREATE TABLE delivery_attempts (
    delivery_id bigint NOT NULL,
    number int NOT NULL CHECK (number > 0),
    occurred_at timestamptz NOT NULL,
    endpoint_id bigint NOT NULL,
    trigger text NOT NULL CHECK (trigger IN ('automatic', 'manual', 'replay')),
    outcome text NOT NULL CHECK (outcome IN ('delivered', 'failed', 'interrupted')),
    -- Why it failed, as a class: connect_timeout, http_5xx, blocked_address, … NULL when delivered.
    reason text,
    -- The same in words, for people.
    detail text,
    status_code int,
    request_head text,
    response_head text,
    response_body text,
    started_at timestamptz NOT NULL,
    duration_ms int,
    dns_ms int,
    connect_ms int,
    tls_ms int,
    first_byte_ms int,
    body_ms int,
    -- NULL: none followed from this one.
    next_attempt_at timestamptz,
    PRIMARY KEY (delivery_id, number, occurred_at)
) PARTITION BY RANGE (occurred_at);

-- The failures that were final: what people look for first.
CREATE INDEX delivery_attempts_final_failure_idx ON delivery_attempts (endpoint_id, delivery_id)
WHERE outcome = 'failed' AND next_attempt_at IS NULL;

CREATE TABLE delivery_payloads_default PARTITION OF delivery_payloads DEFAULT;

CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT
WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE delivery_attempts_default PARTITION OF delivery_attempts DEFAULT;

-- What is still to be sent, and nothing else: so that claiming costs what is due and never what is stored.
CREATE TABLE delivery_queue (
    delivery_id bigint PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    event_id uuid NOT NULL,
    endpoint_id bigint NOT NULL,
    brand_id bigint NOT NULL,
    sequence bigint NOT NULL,
    -- The subscriber, where the endpoint asks for order.
    order_key bigint,
    -- 0: live, 1: replayed, which only gets what live leaves.
    lane smallint NOT NULL DEFAULT 0,
    trigger text NOT NULL DEFAULT 'automatic',
    replay_id bigint,
    -- Numbers given to attempts; the ledger has every one of them.
    attempts int NOT NULL DEFAULT 0,
    -- Attempts that count against the schedule: not the interrupted ones, the probes, and our own faults.
    tries int NOT NULL DEFAULT 0,
    -- How many of them, the last ones in a row, the receiver refused.
    refusals int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- While leased: when the lease ends.
    due_at timestamptz NOT NULL DEFAULT now(),
    -- Of the lease that holds; whoever shows another has lost his.
    lease_token uuid,
    -- The beginning of the last lease, also when it has ended.
    leased_at timestamptz
) WITH (
    -- Every row is deleted soon after it was written.
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0,
    -- It fills again; and a file that keeps its size keeps the planner from reading the queue as a whole.
    vacuum_truncate = false
);

CREATE INDEX delivery_queue_due_idx ON delivery_queue (endpoint_id, lane, due_at, delivery_id)
WHERE lease_token IS NULL;

CREATE INDEX delivery_queue_leased_idx ON delivery_queue (due_at) WHERE lease_token IS NOT NULL;

CREATE INDEX delivery_queue_order_idx ON delivery_queue (endpoint_id, order_key, sequence)
WHERE order_key IS NOT NULL;

CREATE INDEX delivery_queue_replay_id_idx ON delivery_queue (replay_id) WHERE replay_id IS NOT NULL;

-- A replay: deliveries of one endpoint once more, at a rate of its own, as a job that survives everything.
CREATE TABLE webhook_replays (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id bigint NOT NULL REFERENCES webhook_endpoints (id),
    -- The filter. NULL: any.
    types text[],
    outcomes text[],
    occurred_from timestamptz,
    occurred_until timestamptz,
    rate_per_second double precision NOT NULL CHECK (rate_per_second > 0),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'cancelled', 'finished')),
    -- How many the filter found when it was made. Not exact: there was more to look at than is looked at.
    total bigint NOT NULL,
    total_is_exact boolean NOT NULL DEFAULT true,
    -- How many have been put into the queue, and what became of them.
    enqueued bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    -- What its rate allows and it has not used: mostly a part of one.
    allowance double precision NOT NULL DEFAULT 0,
    -- The sequence that it has come to, and the last one that it covers.
    at_sequence bigint NOT NULL DEFAULT 0,
    through_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

CREATE INDEX webhook_replays_endpoint_id_idx ON webhook_replays (endpoint_id, id);

-- A cancelled one is finished when nothing of it waits any more.
CREATE INDEX webhook_replays_at_work_idx ON webhook_replays (id)
WHERE state IN ('running', 'cancelled') AND finished_at IS NULL;

-- The months of what there is already, this one, and the next; housekeeping makes the others.
DO $$
DECLARE
    family text;
    month date;
BEGIN
    FOREACH family IN ARRAY ARRAY['delivery_payloads', 'deliveries', 'delivery_attempts'] LOOP
        FOR month IN
            SELECT DISTINCT date_trunc('month', m.at AT TIME ZONE 'UTC')::date
            FROM (
                SELECT e.occurred_at
                FROM webhook_events AS e
                UNION ALL
                SELECT now()
                UNION ALL
                SELECT now() + interval '1 month'
            ) AS m (at)
        LOOP
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L) %s',
                family || '_' || to_char(month, 'YYYYMM'),
                family,
                month::text || ' 00:00:00+00',
                (month + interval '1 month')::date::text || ' 00:00:00+00',
                CASE family
                    WHEN 'deliveries' THEN 'WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)'
                    ELSE ''
                END
            );
        END LOOP;
    END LOOP;
END
$$;

-- What the previous release finished.

INSERT INTO delivery_payloads (event_id, profile, occurred_at, brand_id, type, body, created_at)
SELECT
    e.event_id,
    e.profile,
    e.occurred_at,
    e.brand_id,
    e.type,
    e.body,
    e.created_at
FROM webhook_events AS e;

INSERT INTO deliveries (
    id, occurred_at, event_id, endpoint_id, brand_id, sequence, type, state, reason, attempts, created_at, finished_at
)
SELECT
    d.id,
    v.occurred_at,
    d.event_id,
    d.endpoint_id,
    d.brand_id,
    row_number() OVER (PARTITION BY d.endpoint_id ORDER BY d.id),
    v.type,
    CASE WHEN d.reason = 'endpoint_deleted' THEN 'discarded' ELSE d.state END,
    d.reason,
    d.attempts,
    d.created_at,
    d.finished_at
FROM webhook_deliveries AS d
INNER JOIN webhook_endpoints AS e ON d.endpoint_id = e.id
INNER JOIN webhook_events AS v ON d.event_id = v.event_id AND e.profile = v.profile
WHERE d.state IN ('delivered', 'failed');

INSERT INTO delivery_attempts (
    delivery_id, number, occurred_at, endpoint_id, trigger, outcome, reason, detail, status_code, response_body, started_at,
    duration_ms
)
SELECT
    a.delivery_id,
    a.number,
    d.occurred_at,
    d.endpoint_id,
    'automatic',
    a.outcome,
    a.reason,
    a.detail,
    a.status_code,
    a.response_body,
    a.started_at,
    a.duration_ms
FROM webhook_attempts AS a
INNER JOIN deliveries AS d ON a.delivery_id = d.id;

INSERT INTO webhook_endpoint_sequences (endpoint_id, last)
SELECT
    d.endpoint_id,
    max(d.sequence)
FROM deliveries AS d
GROUP BY d.endpoint_id;

-- Behind all of the previous release's, also those that are still to be taken over.
SELECT setval(pg_get_serial_sequence('deliveries', 'id'), coalesce(max(d.id), 1), max(d.id) IS NOT NULL)
FROM webhook_deliveries AS d;
