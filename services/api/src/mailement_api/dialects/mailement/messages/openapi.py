"""Messages as OpenAPI 3.1, from the same words and codes that parse and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mailement_api.dialects.mailement.openapi import CURSOR, ID_SCHEMA, LIMIT, Operation, Parameter
from mailement_api.dialects.mailement.responses import Family
from mailement_newsletter.rules.messages import MessageState
from mailement_newsletter.rules.senders import MailKind

_AT: Final = "2026-05-19T17:42:00.000+00:00"
_MESSAGE: Final = {
    "id": 90210,
    "subscriber_id": 41023,
    "kind": "drip",
    "drip_id": None,
    "step_id": None,
    "run_id": None,
    "state": "sent",
    "reason": None,
    "subject": None,
    "attempts": 2,
    "provider": None,
    "provider_message_id": None,
    "sender_id": None,
    "not_before": _AT,
    "created_at": _AT,
    "first_attempt_at": None,
    "finished_at": None,
    "opened_at": None,
    "clicked_at": None,
    "machine_opened_at": None,
}
_ATTEMPT: Final = {
    "number": 1,
    "started_at": _AT,
    "provider": "resend",
    "sender_id": None,
    "outcome": "retry",
    "code": None,
    "reason": None,
    "duration_ms": None,
}


def _describe(
    path: str,
    name: str,
    summary: str,
    answer: Mapping[str, object],
    *codes: str,
    query: tuple[Parameter, ...] = (),
) -> Operation:
    return Operation(
        method="get",
        path=f"/api/v1/{path}",
        name=name,
        summary=summary,
        tag="Messages",
        body=None,
        family=Family.SUCCESS,
        error_schema="message_error",
        example=None,
        answer={"success": True, **answer},
        codes=codes,
        id_of="message",
        query=query,
    )


OPERATIONS: Final = (
    _describe(
        "messages",
        "listMessages",
        "The brand's mails, the newest first. A page that has fewer than `limit` and a `cursor` is not the last one.",
        {"messages": [_MESSAGE], "cursor": None},
        "invalid_subscriber_id",
        "invalid_drip_id",
        "invalid_kind",
        "invalid_state",
        "invalid_limit",
        "invalid_cursor",
        query=(
            Parameter(name="subscriber_id", description="Only those to this subscriber.", schema=ID_SCHEMA),
            Parameter(name="drip_id", description="Only those of this drip.", schema=ID_SCHEMA),
            Parameter(
                name="kind",
                description="Only these.",
                schema={"type": "string", "enum": [kind.value for kind in MailKind]},
            ),
            Parameter(
                name="state",
                description="Only these.",
                schema={"type": "string", "enum": [state.value for state in MessageState]},
            ),
            LIMIT,
            CURSOR,
        ),
    ),
    _describe(
        "messages/{id}",
        "showMessage",
        "A mail and every attempt to send it. `opened_at` and `clicked_at` are a person's; `machine_opened_at` a program's.",
        {"message": _MESSAGE, "attempts": [_ATTEMPT]},
        "message_not_found",
    ),
)
