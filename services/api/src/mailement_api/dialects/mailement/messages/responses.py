"""Our words → wire."""

from __future__ import annotations

from collections.abc import Mapping

from mailement_api.dialects.mailement.query import wire_moment
from mailement_newsletter.usecases.list_messages import MessagePage
from mailement_newsletter.usecases.message_view import MessageView
from mailement_newsletter.usecases.show_message import AttemptView, MessageReport

Wire = Mapping[str, object]


def message(found: MessageView) -> Wire:
    return {
        "id": found.id,
        "subscriber_id": found.subscriber_id,
        "kind": found.kind,
        "drip_id": found.drip_id,
        "step_id": found.step_id,
        "run_id": found.run_id,
        "state": found.state,
        "reason": found.reason,
        "subject": found.subject,
        "attempts": found.attempts,
        "provider": found.provider,
        "provider_message_id": found.provider_message_id,
        "sender_id": found.sender_id,
        "not_before": wire_moment(found.not_before),
        "created_at": wire_moment(found.created_at),
        "first_attempt_at": wire_moment(found.first_attempt_at),
        "finished_at": wire_moment(found.finished_at),
        "opened_at": wire_moment(found.opened_at),
        "clicked_at": wire_moment(found.clicked_at),
        "machine_opened_at": wire_moment(found.machine_opened_at),
    }


def page(found: MessagePage) -> Wire:
    cursor = None if found.before is None else str(found.before)
    return {"messages": [message(each) for each in found.messages], "cursor": cursor}


def report(found: MessageReport) -> Wire:
    return {"message": message(found.message), "attempts": [_attempt(each) for each in found.attempts]}


def _attempt(found: AttemptView) -> Wire:
    return {
        "number": found.number,
        "started_at": wire_moment(found.started_at),
        "provider": found.provider,
        "sender_id": found.sender_id,
        "outcome": found.outcome,
        "code": found.code,
        "reason": found.reason,
        "duration_ms": found.duration_ms,
    }
