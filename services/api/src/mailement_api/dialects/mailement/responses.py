"""Outcome → wire."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, assert_never

import orjson
from starlette.responses import Response

from mailement_api.dialects.mailement.errors import WireError
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.change_tags import TagsChanged
from mailement_newsletter.usecases.enroll import Enrolled
from mailement_newsletter.usecases.leave import Left
from mailement_newsletter.usecases.subscribe import Subscribed


class Family(StrEnum):
    """What a successful answer calls its success (section 3)."""

    OK = "ok"
    SUCCESS = "success"


CORS_HEADERS: Final = {"Access-Control-Allow-Origin": "*"}
PREFLIGHT_HEADERS: Final = {
    **CORS_HEADERS,
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Newsletter-Api-Key, X-Request-ID, traceparent",
    "Access-Control-Max-Age": "86400",
}


def subscribed(outcome: Subscribed) -> Mapping[str, object]:
    """Section 4."""
    return {"ok": True, "subscriber_id": outcome.subscriber_id, "status": outcome.status}


def tag_subscribed(outcome: Subscribed) -> Mapping[str, object]:
    """Section 5: what happened, not what is."""
    return {"success": True, "subscriber_id": outcome.subscriber_id, "status": _happened(outcome)}


def left(outcome: Left) -> Mapping[str, object]:
    """Section 6."""
    return {"success": True, "subscriber_id": outcome.subscriber_id}


def tags_changed(outcome: TagsChanged) -> Mapping[str, object]:
    """Section 7."""
    return {
        "success": True,
        "subscriber_id": outcome.subscriber_id,
        "added": outcome.added,
        "removed": outcome.removed,
    }


def enrolled(outcome: Enrolled) -> Mapping[str, object]:
    """Section 8."""
    return {
        "ok": True,
        "subscriber_id": outcome.subscriber_id,
        "drip_id": outcome.drip_id,
        "already_enrolled": outcome.already_enrolled,
    }


def answer(body: Mapping[str, object], *, cors: bool) -> Response:
    return _json(200, body, CORS_HEADERS if cors else {})


def failure(error: WireError, family: Family, *, cors: bool, allow: str | None = None) -> Response:
    code = error.meaning
    body: dict[str, object] = {family.value: False, "error": error.code, "message": code.message}
    if error.reason is not None:
        body["reason"] = error.reason
    body.update(error.details)
    headers = dict(CORS_HEADERS) if cors else {}
    match code.status:
        case 401:
            headers["WWW-Authenticate"] = "Bearer"
        case 405:
            headers["Allow"] = allow or "POST"
        case 503:
            headers["Retry-After"] = "1"
        case 408 | 413:
            # The rest of the body was not read, so the connection cannot carry another request.
            headers["Connection"] = "close"
        case _:
            pass
    return _json(code.status, body, headers)


def preflight() -> Response:
    """Section 10; never with credentials."""
    return Response(status_code=204, headers=PREFLIGHT_HEADERS)


def _happened(outcome: Subscribed) -> str:
    if not outcome.created:
        return "existing"
    match outcome.status:
        case SubscriberStatus.CONFIRMED:
            return "subscribed"
        case SubscriberStatus.PENDING:
            return "pending_confirmation"
        case SubscriberStatus.UNSUBSCRIBED | SubscriberStatus.BOUNCED | SubscriberStatus.COMPLAINED:
            raise AssertionError("nobody is created in such a state")
        case _:
            assert_never(outcome.status)


def _json(status: int, body: Mapping[str, object], headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(body), status_code=status, headers=headers, media_type="application/json")
