-- Events leave with the commit of the change that they report.

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL,
    type text NOT NULL,
    brand_id bigint NOT NULL,
    data jsonb NOT NULL,
    traceparent text,
    occurred_at timestamptz NOT NULL DEFAULT now()
) WITH (
    -- Every row is deleted soon after it was written: the default scale factor would let
    -- the dead ones slow the relay down.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);

CREATE TABLE outbox_dead (
    id bigint PRIMARY KEY,
    event_id uuid NOT NULL,
    type text NOT NULL,
    brand_id bigint NOT NULL,
    data jsonb NOT NULL,
    traceparent text,
    occurred_at timestamptz NOT NULL,
    error text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now()
);

-- What the relay has handed to the broker, kept for days: a lost broker can be filled again from here.
CREATE TABLE event_log (
    event_id uuid NOT NULL,
    type text NOT NULL,
    brand_id bigint NOT NULL,
    data jsonb NOT NULL,
    traceparent text,
    occurred_at timestamptz NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (published_at);

-- Catches rows only if the housekeeping has not made the day's partition in time.
CREATE TABLE event_log_default PARTITION OF event_log DEFAULT;

CREATE INDEX event_log_event_id_idx ON event_log (event_id);

-- The id of the event that a change caused: UUIDv8 (RFC 9562, section 5.8) of SHA-256 over "kind:id:version".
-- mailement_common.ids.event_id computes the same.
-- One expression of immutable parts, so that the planner puts it in place of the call: a call would be
-- parsed and planned anew for every event.
CREATE FUNCTION event_id(kind text, id bigint, version int) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT encode(
        set_byte(
            set_byte(
                substring(sha256((kind || ':' || id::text || ':' || version::text)::bytea) FROM 1 FOR 16),
                6,
                (get_byte(sha256((kind || ':' || id::text || ':' || version::text)::bytea), 6) & 15) | 128
            ),
            8,
            (get_byte(sha256((kind || ':' || id::text || ':' || version::text)::bytea), 8) & 63) | 128
        ),
        'hex'
    )::uuid
$$;
