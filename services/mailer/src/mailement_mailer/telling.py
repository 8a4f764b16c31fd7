"""What the log and the metrics are told of messages: one line for each deed, never an address."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from mailement_common.ids import trace_id
from mailement_common.logs import logger
from mailement_mailer.metrics import LAG_SECONDS, MESSAGES, SEND_SECONDS
from mailement_newsletter.queries.messages import Cancelled, Claimed, Expired, Fate
from mailement_newsletter.rules.messages import MessageState

_EVENTS: Final = {
    MessageState.SENT: "message.sent",
    MessageState.FAILED: "message.failed",
    MessageState.UNCERTAIN: "message.uncertain",
    MessageState.QUEUED: "message.retry_scheduled",
    MessageState.SENDING: "message.retry_scheduled",
    MessageState.CANCELLED: "message.cancelled",
}
_OUTCOMES: Final = {
    MessageState.SENT: "sent",
    MessageState.FAILED: "failed",
    MessageState.UNCERTAIN: "uncertain",
    MessageState.QUEUED: "retried",
    MessageState.SENDING: "retried",
    MessageState.CANCELLED: "cancelled",
}

log = logger(__name__)


def tell(message: Claimed, fate: Fate, *, seconds: float, now: datetime, provider: str) -> None:
    """Of an attempt that has ended; `seconds` is what the provider took, zero for none."""
    MESSAGES.labels(outcome=_OUTCOMES[fate.state]).inc()
    if seconds:
        SEND_SECONDS.observe(seconds)
    facts: dict[str, object] = {
        **_facts(message),
        "attempt": fate.attempts,
        "duration_ms": round(seconds * 1000),
        "provider": provider,
    }
    if message.place is not None:
        facts["batch_id"] = str(message.place.batch)
    match fate.state:
        case MessageState.SENT:
            lag = (now - message.created_at).total_seconds()
            LAG_SECONDS.observe(lag)
            log.info(_EVENTS[fate.state], **facts, lag_ms=round(lag * 1000))
        case MessageState.QUEUED | MessageState.SENDING:
            log.info(_EVENTS[fate.state], **facts, reason=fate.error, not_before=_iso(fate.not_before))
        case _:
            log.warning(_EVENTS[fate.state], **facts, reason=fate.error)


def tell_cancelled(message: Cancelled) -> None:
    MESSAGES.labels(outcome="cancelled").inc()
    log.info(_EVENTS[MessageState.CANCELLED], **_facts(message), reason=message.reason)


def tell_expired(message: Expired) -> None:
    MESSAGES.labels(outcome=_OUTCOMES[message.state]).inc()
    log.warning(
        _EVENTS[message.state],
        **_facts(message),
        attempt=message.attempts,
        provider=message.provider,
        reason=message.error or "the mailer fell silent before sending",
    )


def tell_lost(message: Claimed, *, before: str) -> None:
    """Another mailer has taken over."""
    log.warning("message.lease_lost", **_facts(message), before=before)


def _facts(message: Claimed | Cancelled | Expired) -> dict[str, object]:
    if isinstance(message, Claimed):
        brand_id, subscriber_id = message.brand.id, message.recipient.id
    else:
        brand_id, subscriber_id = message.brand_id, message.subscriber_id
    facts: dict[str, object] = {
        "message_id": message.id,
        "brand_id": brand_id,
        "subscriber_id": subscriber_id,
    }
    if message.traceparent is not None:
        facts["trace_id"] = trace_id(message.traceparent)
    return facts


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
