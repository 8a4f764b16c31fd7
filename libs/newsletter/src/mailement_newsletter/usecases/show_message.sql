-- name: attempts
-- What is known of the last times that it was handed over, the last one first.
SELECT
    a.number,
    a.started_at,
    a.provider,
    a.mail_account_id,
    a.sender_id,
    a.outcome,
    a.code,
    a.reason,
    a.duration_ms
FROM message_attempts AS a
WHERE a.message_id = $1
ORDER BY a.number DESC, a.started_at DESC
LIMIT $2::int;
