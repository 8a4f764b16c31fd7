-- Accounts own brands; a brand is the tenant that everything below belongs to.

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE brands (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    slug text NOT NULL,
    name text NOT NULL,
    opt_in_mode text NOT NULL CHECK (opt_in_mode IN ('single', 'double')),
    sender_name text,
    sender_address text,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- A brand is never removed: its keys must be able to answer brand_not_found.
    deleted_at timestamptz
);

CREATE UNIQUE INDEX brands_slug_key ON brands (slug) WHERE deleted_at IS NULL;

CREATE TABLE api_keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    -- NULL: the key reaches every brand of the account.
    brand_id bigint REFERENCES brands (id),
    dialect text NOT NULL,
    name text NOT NULL,
    key_hash bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    last_four text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);

CREATE INDEX api_keys_brand_id_idx ON api_keys (brand_id);
