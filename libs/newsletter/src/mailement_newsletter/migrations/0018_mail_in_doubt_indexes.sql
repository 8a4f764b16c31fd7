-- Apart, and with no lock that anybody waits for: the whole ledger is read for it. Both indexes stay small.

-- Attempts of the release before that count and are to be repeated through a provider that knows keys.
UPDATE messages SET may_have_arrived = true
WHERE state IN ('queued', 'claimed', 'sending') AND tries > 0 AND payload IS NOT NULL AND provider IN ('resend', 'file');

DROP INDEX CONCURRENTLY IF EXISTS messages_in_doubt;

-- What may have arrived and waits, by when its provider forgets its key.
CREATE INDEX CONCURRENTLY messages_in_doubt ON messages (provider, first_attempt_at)
WHERE state = 'queued' AND may_have_arrived;

DROP INDEX CONCURRENTLY IF EXISTS messages_uncertain_batches;

-- The members of a batch that somebody wishes for once more.
CREATE INDEX CONCURRENTLY messages_uncertain_batches ON messages (batch_id)
WHERE state = 'uncertain' AND batch_id IS NOT NULL;
