-- name: rows
-- A brand's messages by their ids, the newest first.
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
WHERE m.id = ANY($1::bigint []) AND m.brand_id = $2
ORDER BY m.id DESC;
