-- The ids that integrators give to events they report, so that one who asks again does nothing again. A month each, dropped by age.

CREATE TABLE reported_events (
    brand_id bigint NOT NULL,
    given_id text NOT NULL,
    -- Not the moment: of two copies at a time only one may come in.
    month timestamptz NOT NULL DEFAULT date_trunc('month', now(), 'UTC'),
    subscriber_id bigint NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (brand_id, given_id, month)
) PARTITION BY RANGE (month);

CREATE TABLE reported_events_default PARTITION OF reported_events DEFAULT;
