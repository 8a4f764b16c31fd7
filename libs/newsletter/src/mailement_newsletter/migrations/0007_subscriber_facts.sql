-- What an event tells of a subscriber; one definition for every statement that writes one.

CREATE FUNCTION subscriber_facts(s subscribers) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT jsonb_build_object(
        'id', s.id,
        'email', s.email,
        'first_name', s.first_name,
        'last_name', s.last_name,
        'city', s.city,
        'custom_fields', s.custom_fields,
        'status', s.status,
        'source', s.source,
        'confirmed_at', s.confirmed_at,
        'unsubscribed_at', s.unsubscribed_at,
        'version', s.version
    )
$$;
