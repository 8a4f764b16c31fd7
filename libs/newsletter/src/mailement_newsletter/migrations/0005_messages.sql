-- The mail ledger: one row is one mail to one address.

CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    brand_id bigint NOT NULL,
    subscriber_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('drip')),
    drip_id bigint,
    drip_step_id bigint,
    enrollment_id bigint,
    -- What makes a second mail for the same reason impossible; also the provider's idempotency key.
    dedupe_key text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'queued'
    CHECK (state IN ('queued', 'claimed', 'sending', 'sent', 'failed', 'uncertain', 'cancelled')),
    -- 0 is served first.
    priority smallint NOT NULL DEFAULT 1,
    not_before timestamptz NOT NULL DEFAULT now(),
    -- Frozen before the first attempt, so that every attempt sends the same bytes.
    payload jsonb,
    attempts int NOT NULL DEFAULT 0,
    lease_token uuid,
    lease_until timestamptz,
    provider text,
    provider_message_id text,
    error text,
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX messages_ready ON messages (priority, not_before, id) WHERE state = 'queued';

CREATE INDEX messages_leased ON messages (lease_until) WHERE state IN ('claimed', 'sending');

CREATE INDEX messages_by_subscriber ON messages (subscriber_id, id);
