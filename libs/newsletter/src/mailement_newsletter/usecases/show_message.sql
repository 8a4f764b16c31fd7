-- name: message
-- One message of a brand.
SELECT
    m.id,
    m.brand_id,
    m.subscriber_id,
    m.kind,
    m.drip_id,
    m.drip_step_id,
    m.enrollment_id,
    m.state,
    m.error,
    m.attempts,
    m.provider,
    m.provider_message_id,
    m.sender_id,
    m.mail_account_id,
    m.not_before,
    m.created_at,
    m.first_attempt_at,
    m.finished_at,
    m.opened_at,
    m.clicked_at,
    m.machine_opened_at,
    m.payload ->> 'subject' AS subject
FROM messages AS m
WHERE m.id = $1 AND m.brand_id = $2;

-- name: attempts
-- What is known of each time that it was handed over.
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
ORDER BY a.number, a.started_at;
