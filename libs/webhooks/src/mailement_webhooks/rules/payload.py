"""The body that receivers get, made once per event and stored as bytes: what is signed is what is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from mailement_common.events.envelope import Envelope
from mailement_webhooks.errors import NotASubscriberEvent


def subscriber_body(event: Envelope) -> bytes:
    """The payload of a subscriber's event, keys in the order of the Mailement document (section 9).

    Raises NotASubscriberEvent.
    """
    try:
        return orjson.dumps(
            {
                "event": event.type,
                "brand_slug": event.data["brand_slug"],
                "timestamp": event.occurred_at.astimezone(UTC).isoformat(timespec="seconds"),
                "data": {"subscriber": _subscriber(event.data["subscriber"])},
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NotASubscriberEvent(f"{type(error).__name__}: {error}") from error


def _subscriber(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": facts["id"],
        "email": facts["email"],
        "first_name": facts["first_name"],
        "last_name": facts["last_name"],
        "city": facts["city"],
        "custom_fields": facts["custom_fields"],
        "status": facts["status"],
        "source": facts["source"],
        "confirmed_at": _moment(facts["confirmed_at"]),
        "unsubscribed_at": _moment(facts["unsubscribed_at"]),
    }


def _moment(iso: str | None) -> str | None:
    """`YYYY-MM-DD HH:MM:SS` in UTC: the document writes these two differently from `timestamp`."""
    if iso is None:
        return None
    return (
        datetime.fromisoformat(iso)
        .astimezone(UTC)
        .replace(tzinfo=None)
        .isoformat(sep=" ", timespec="seconds")
    )
