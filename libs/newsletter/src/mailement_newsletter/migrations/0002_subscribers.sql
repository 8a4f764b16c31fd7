-- Who reads, what they chose, and the words that a brand has for both.

CREATE TABLE topics (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    brand_id bigint NOT NULL REFERENCES brands (id),
    slug text NOT NULL,
    name text NOT NULL,
    is_public boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (brand_id, slug)
);

CREATE TABLE custom_fields (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    brand_id bigint NOT NULL REFERENCES brands (id),
    key text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (brand_id, key)
);

CREATE TABLE subscribers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- No foreign key: brands are never removed, and its share lock on the one brand row
    -- would be taken by every signup.
    brand_id bigint NOT NULL,
    email text NOT NULL,
    email_key text NOT NULL,
    first_name text,
    last_name text,
    city text,
    custom_fields jsonb NOT NULL DEFAULT '{}',
    -- Memberships live in the row, so that replacing the set is one atomic write
    -- (docs/decisions/0003-topics-in-the-row.md). Sorted, without duplicates.
    topic_ids bigint[] NOT NULL DEFAULT '{}',
    status text NOT NULL CHECK (status IN ('pending', 'confirmed', 'unsubscribed', 'bounced', 'complained')),
    source text,
    -- Counts the changes of this row; an event's id is made from (id, version).
    version int NOT NULL DEFAULT 1,
    confirmed_at timestamptz,
    unsubscribed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subscribers_email_key UNIQUE (brand_id, email_key)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02);

-- A brand's subscribers in order, however large its neighbours are.
CREATE INDEX subscribers_page ON subscribers (brand_id, id);

-- Slugs that callers asked for and the brand does not have: one row per slug and day,
-- so that a form with a typo does not make one hot row.
CREATE TABLE unknown_topics (
    brand_id bigint NOT NULL,
    slug text NOT NULL,
    seen_on date NOT NULL,
    PRIMARY KEY (brand_id, seen_on, slug)
);
