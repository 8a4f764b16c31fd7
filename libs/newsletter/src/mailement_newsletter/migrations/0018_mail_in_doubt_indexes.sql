-- Apart from 0017, and statement by statement: no lock is held for longer than it takes to write what has been found.

-- Attempts of the release before that count and are to be repeated through a provider that knows keys.
-- Found first, in the index of what waits, and locked only then.
UPDATE messages AS m SET may_have_arrived = true
WHERE
    m.id = ANY(
        ARRAY(
            SELECT k.id
            FROM messages AS k
            WHERE k.state = 'queued' AND k.tries > 0 AND k.payload IS NOT NULL AND k.provider IN ('resend', 'file')
        )
    )
    AND m.state = 'queued' AND m.tries > 0 AND m.payload IS NOT NULL AND m.provider IN ('resend', 'file');

-- The same for what a mailer has in hand, in the index of leases.
UPDATE messages AS m SET may_have_arrived = true
WHERE
    m.id = ANY(
        ARRAY(
            SELECT k.id
            FROM messages AS k
            WHERE
                k.state IN ('claimed', 'sending')
                AND k.tries > 0 AND k.payload IS NOT NULL AND k.provider IN ('resend', 'file')
        )
    )
    AND m.state IN ('claimed', 'sending')
    AND m.tries > 0 AND m.payload IS NOT NULL AND m.provider IN ('resend', 'file');

DROP INDEX CONCURRENTLY IF EXISTS messages_in_doubt;

-- What may have arrived and waits, by when its provider forgets its key.
CREATE INDEX CONCURRENTLY messages_in_doubt ON messages (provider, first_attempt_at)
WHERE state = 'queued' AND may_have_arrived;

DROP INDEX CONCURRENTLY IF EXISTS messages_uncertain_batches;

-- The members of a batch that somebody wishes for once more.
CREATE INDEX CONCURRENTLY messages_uncertain_batches ON messages (batch_id)
WHERE state = 'uncertain' AND batch_id IS NOT NULL;
