-- Outbound webhooks: where events go, what was sent, and every try.

CREATE TABLE webhook_endpoints (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    -- NULL: hears every brand of the account.
    brand_id bigint REFERENCES brands (id),
    profile text NOT NULL DEFAULT 'mailement',
    url text NOT NULL,
    -- Sealed with mailement_common.sealing; never stored readable.
    secret_sealed text NOT NULL,
    event_types text[] NOT NULL,
    state text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled', 'deleted')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX webhook_endpoints_brand_id_idx ON webhook_endpoints (brand_id) WHERE state <> 'deleted';

CREATE INDEX webhook_endpoints_account_id_idx ON webhook_endpoints (account_id) WHERE state <> 'deleted';

-- The bytes that are signed and sent, stored once for all endpoints of a profile.
CREATE TABLE webhook_events (
    event_id uuid NOT NULL,
    profile text NOT NULL,
    brand_id bigint NOT NULL,
    type text NOT NULL,
    body bytea NOT NULL,
    occurred_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, profile)
);

CREATE TABLE webhook_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL,
    endpoint_id bigint NOT NULL REFERENCES webhook_endpoints (id),
    brand_id bigint NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'leased', 'delivered', 'failed')),
    -- Why it failed: the last attempt's reason, or why there was none (endpoint_deleted).
    reason text,
    attempts int NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    lease_token uuid,
    leased_at timestamptz,
    lease_until timestamptz,
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (event_id, endpoint_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at, id) WHERE state = 'pending';

CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (lease_until) WHERE state = 'leased';

CREATE INDEX webhook_deliveries_brand_id_idx ON webhook_deliveries (brand_id, id);

CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (brand_id, id) WHERE state = 'failed';

CREATE TABLE webhook_attempts (
    delivery_id bigint NOT NULL,
    number int NOT NULL CHECK (number > 0),
    outcome text NOT NULL CHECK (outcome IN ('delivered', 'failed', 'interrupted')),
    -- Why it failed, as a class: connect_timeout, http_5xx, blocked_address, … NULL when delivered.
    reason text,
    -- The same in words, for people.
    detail text,
    status_code int,
    response_body text,
    started_at timestamptz NOT NULL,
    duration_ms int,
    PRIMARY KEY (delivery_id, number)
);
