-- Senders, the mail accounts that they send through, DKIM keys, and what keeps all of it within its limits.

CREATE TABLE mail_accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: the operator's, for the senders of every account.
    account_id bigint REFERENCES accounts (id),
    name text NOT NULL UNIQUE,
    provider text NOT NULL CHECK (provider IN ('smtp', 'resend', 'file')),
    -- What the provider needs besides the secret: host, port, tls, user; url; folder.
    settings jsonb NOT NULL DEFAULT '{}',
    -- The password or API key. NULL: it needs none.
    secret_sealed text,
    -- NULL: no limit but the one that the provider tells.
    per_second double precision CHECK (per_second > 0),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'retired')),
    -- Nothing is handed to it before then.
    parked_until timestamptz,
    parked_reason text,
    -- Counts the changes, so that a mailer notices that its connections are those of yesterday's settings.
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE senders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    brand_id bigint NOT NULL REFERENCES brands (id),
    -- NULL: the account of the settings.
    mail_account_id bigint REFERENCES mail_accounts (id),
    name text NOT NULL,
    address text NOT NULL,
    reply_to text,
    kinds text[] NOT NULL CHECK (
        cardinality(kinds) > 0 AND kinds <@ ARRAY['drip', 'transactional', 'campaign']
    ),
    -- The lowest goes first; the next ones are its failover.
    rank smallint NOT NULL DEFAULT 0,
    daily_limit int CHECK (daily_limit > 0),
    warmup text NOT NULL DEFAULT 'none' CHECK (warmup IN ('none', 'slow', 'normal', 'fast', 'domain')),
    -- Days that the warm-up made use of, the day (UTC) that the stage was set for, and its mails on that day.
    warmup_day int NOT NULL DEFAULT 0,
    warmup_on date,
    warmup_limit int,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (brand_id, address),
    CHECK ((warmup = 'none') = (warmup_on IS NULL) AND (warmup = 'none') = (warmup_limit IS NULL))
);

CREATE INDEX senders_mail_account_id_idx ON senders (mail_account_id);

CREATE TABLE dkim_keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL: the operator's, for the mail of every account from this domain.
    account_id bigint REFERENCES accounts (id),
    domain text NOT NULL,
    selector text NOT NULL,
    algorithm text NOT NULL CHECK (algorithm IN ('rsa-sha256', 'ed25519-sha256')),
    private_key_sealed text NOT NULL,
    -- pending: the DNS record is not there yet, and nothing is signed with it.
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active', 'retired')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (domain, selector)
);

-- A rate that all mailers share, as the moment when the next mail would be due if all came evenly.
CREATE TABLE pacing_buckets (
    key text PRIMARY KEY,
    tat timestamptz NOT NULL,
    -- What the provider told of its own limit. NULL: nothing yet.
    told_interval double precision CHECK (told_interval > 0),
    told_burst int,
    -- The provider asked for silence.
    shut_until timestamptz,
    -- After it had to ask: the share of the rate that is used until slowed_until; then a tenth more every minute.
    slowed_to double precision CHECK (slowed_to > 0 AND slowed_to <= 1),
    slowed_until timestamptz
) WITH (fillfactor = 50);

-- What left on a day (UTC), and what came back of the mails of that day.
CREATE TABLE sending_days (
    key text NOT NULL,
    day date NOT NULL,
    used int NOT NULL DEFAULT 0 CHECK (used >= 0),
    bounced int NOT NULL DEFAULT 0,
    complained int NOT NULL DEFAULT 0,
    PRIMARY KEY (key, day)
) WITH (fillfactor = 50);

CREATE INDEX sending_days_day_idx ON sending_days (day);

-- The share of its rate that a bucket may use at a moment.
CREATE FUNCTION pace_at(moment timestamptz, slowed_to double precision, slowed_until timestamptz)
RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
SELECT CASE
    WHEN slowed_until IS NULL THEN 1
    WHEN moment < slowed_until THEN slowed_to
    ELSE least(1, slowed_to + 0.1 * (1 + floor(extract(EPOCH FROM moment - slowed_until) / 60)))
END
$$;

-- A bucket or a day while its mails are dealt out. `opens`: when the next mail had room if nothing were taken; each mail
-- that is taken moves that by `step` seconds.
CREATE TYPE pace_place AS (room int, taken int, step double precision, opens timestamptz, is_day boolean);

-- Lock a bucket, making it if need be, and see what may leave at once. `least_step`: seconds between two mails.
CREATE FUNCTION lock_bucket(moment timestamptz, wanted text, least_step double precision, most int)
RETURNS pace_place
LANGUAGE plpgsql AS $$
DECLARE
    bucket pacing_buckets;
    place pace_place;
    ahead double precision;
BEGIN
    INSERT INTO pacing_buckets (key, tat) VALUES (wanted, moment) ON CONFLICT (key) DO NOTHING;
    SELECT p.* INTO STRICT bucket FROM pacing_buckets AS p WHERE p.key = wanted FOR UPDATE;
    most := least(most, bucket.told_burst);
    place.is_day := false;
    place.taken := 0;
    place.step := greatest(least_step, bucket.told_interval)
        / pace_at(moment, bucket.slowed_to, bucket.slowed_until);
    -- Seconds that the bucket is ahead of the clock; each step of them is one mail fewer.
    ahead := greatest(0, extract(EPOCH FROM bucket.tat - moment));
    place.opens := moment + make_interval(secs => ahead - (most - 1) * place.step);
    IF bucket.shut_until > moment THEN
        place.opens := greatest(place.opens, bucket.shut_until);
        place.room := 0;
    ELSIF place.step = 0 THEN
        place.room := 2147483647;
    ELSE
        -- Moments are whole microseconds: a millionth of a mail makes up for what was rounded.
        place.room := greatest(0, floor(most - ahead / place.step + 0.000001));
    END IF;
    RETURN place;
END
$$;

-- Lock a day, making it if need be, and see what is left of it.
CREATE FUNCTION lock_day(wanted text, wanted_day date, most int)
RETURNS pace_place
LANGUAGE plpgsql AS $$
DECLARE
    place pace_place;
BEGIN
    INSERT INTO sending_days (key, day) VALUES (wanted, wanted_day) ON CONFLICT (key, day) DO NOTHING;
    SELECT greatest(0, most - s.used) INTO STRICT place.room
    FROM sending_days AS s WHERE s.key = wanted AND s.day = wanted_day FOR UPDATE;
    place.is_day := true;
    place.taken := 0;
    place.step := 0;
    place.opens := (wanted_day + 1)::timestamp AT TIME ZONE 'UTC';
    RETURN place;
END
$$;

-- How many mails of each want may leave now, want by want; what is granted is taken.
--
-- Buckets and days are each in the order of their keys, so that no two callers wait for each other. `needs` has for each
-- want the places that it needs room in: numbers from 1, the days after the buckets.
CREATE FUNCTION reserve_pace(
    moment timestamptz,
    bucket_keys text[],
    steps double precision[],
    bursts int[],
    day_keys text[],
    days date[],
    limits int[],
    wanted int[],
    needs jsonb
)
RETURNS TABLE (mails int, again_at timestamptz, day_used_up boolean)
LANGUAGE plpgsql AS $$
DECLARE
    buckets CONSTANT int := cardinality(bucket_keys);
    places pace_place[] := '{}';
    grants int[] := wanted;
    i int;
BEGIN
    FOR b IN 1 .. buckets LOOP
        places[b] := lock_bucket(moment, bucket_keys[b], steps[b], bursts[b]);
    END LOOP;
    FOR d IN 1 .. cardinality(day_keys) LOOP
        places[buckets + d] := lock_day(day_keys[d], days[d], limits[d]);
    END LOOP;

    FOR w IN 1 .. cardinality(wanted) LOOP
        FOR i IN SELECT n::int FROM jsonb_array_elements_text(needs -> (w - 1)) AS n LOOP
            grants[w] := least(grants[w], places[i].room - places[i].taken);
        END LOOP;
        FOR i IN SELECT n::int FROM jsonb_array_elements_text(needs -> (w - 1)) AS n LOOP
            places[i].taken := places[i].taken + grants[w];
        END LOOP;
    END LOOP;

    FOR b IN 1 .. buckets LOOP
        IF places[b].taken > 0 AND places[b].step > 0 THEN
            UPDATE pacing_buckets AS p
            SET tat = greatest(p.tat, moment) + make_interval(secs => places[b].taken * places[b].step)
            WHERE p.key = bucket_keys[b];
        END IF;
    END LOOP;
    FOR d IN 1 .. cardinality(day_keys) LOOP
        IF places[buckets + d].taken > 0 THEN
            UPDATE sending_days AS s SET used = s.used + places[buckets + d].taken
            WHERE s.key = day_keys[d] AND s.day = days[d];
        END IF;
    END LOOP;

    FOR w IN 1 .. cardinality(wanted) LOOP
        mails := grants[w];
        again_at := NULL;
        day_used_up := false;
        IF mails < wanted[w] THEN
            FOR i IN SELECT n::int FROM jsonb_array_elements_text(needs -> (w - 1)) AS n LOOP
                IF places[i].taken >= places[i].room THEN
                    again_at := greatest(
                        again_at, places[i].opens + make_interval(secs => places[i].taken * places[i].step)
                    );
                    day_used_up := day_used_up OR places[i].is_day;
                END IF;
            END LOOP;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
