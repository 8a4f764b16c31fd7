-- What a sender's warm-up is counted under in sending_days: a domain is warmed up by all of its senders together.
CREATE FUNCTION warmup_key(sender_id bigint, warmup text, address text)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
SELECT CASE
    WHEN warmup = 'domain' THEN 'domain:' || lower(split_part(address, '@', 2))
    ELSE 'sender:' || sender_id::text
END
$$;
