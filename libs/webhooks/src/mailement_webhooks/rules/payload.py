"""The bodies that receivers get, made once per event and stored as bytes: what is signed is what is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, assert_never

import orjson

from mailement_common.events.envelope import Envelope
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.errors import FactsMissing
from mailement_webhooks.rules.profiles import (
    DRIP_EVENT_TYPES,
    OPERATIONAL_EVENT_TYPES,
    maily_event_id,
    wire_name,
)
from mailement_webhooks.rules.shown_url import shown_url

_CONFIRMED: Final = "confirmed"
_MAILY_CONFIRMED: Final = "active"


def body_for(profile: Profile, event: Envelope) -> bytes | None:
    """What an endpoint of the profile gets; None: the profile does not speak of this event. Raises FactsMissing."""
    name = wire_name(profile, event)
    if name is None:
        return None
    if event.type in OPERATIONAL_EVENT_TYPES:
        return operational_body(profile, event)
    if event.type in DRIP_EVENT_TYPES:
        return drip_body(profile, event)
    match profile:
        case Profile.MAILEMENT:
            return subscriber_body(event)
        case Profile.MAILY:
            return maily_body(event, name)
        case _:
            assert_never(profile)


def subscriber_body(event: Envelope) -> bytes:
    """The payload of a subscriber's event, keys in the order of the Mailement document (section 9).

    Raises FactsMissing.
    """
    try:
        return _mailement(event, {"subscriber": _subscriber(event.data["subscriber"])})
    except (KeyError, TypeError, ValueError) as error:
        raise FactsMissing(f"{type(error).__name__}: {error}") from error


def maily_body(event: Envelope, name: str) -> bytes:
    """The envelope of the Maily document around the subscriber as its API lists one; `list_id` is the brand.

    `name`: what Maily calls the event. Raises FactsMissing.
    """
    try:
        return _maily(event, name, {"subscriber": _maily_subscriber(event)})
    except (KeyError, TypeError, ValueError) as error:
        raise FactsMissing(f"{type(error).__name__}: {error}") from error


def operational_body(profile: Profile, event: Envelope) -> bytes:
    """The payload of an event about endpoints and deliveries, in the profile's envelope. Raises FactsMissing.

    The event's data: `brand_slug` (None: the endpoint hears all brands), `endpoint`, and `delivery` where one is
    meant. More keys in these two than are passed on do no harm.
    """
    try:
        data = {
            "endpoint": _endpoint(event.data["endpoint"]),
            "delivery": _delivery(event.data.get("delivery")),
        }
        match profile:
            case Profile.MAILEMENT:
                return _mailement(event, data)
            case Profile.MAILY:
                return _maily(event, event.type, data)
            case _:
                assert_never(profile)
    except (KeyError, TypeError, ValueError) as error:
        raise FactsMissing(f"{type(error).__name__}: {error}") from error


def drip_body(profile: Profile, event: Envelope) -> bytes:
    """The payload of a drip's webhook step, in the profile's envelope: the subscriber, and which step of what it was.

    Raises FactsMissing.
    """
    try:
        drip = event.data["drip"]
        about = {key: drip[key] for key in ("id", "step_id", "run_id", "name")}
        match profile:
            case Profile.MAILEMENT:
                return _mailement(event, {"subscriber": _subscriber(event.data["subscriber"]), "drip": about})
            case Profile.MAILY:
                return _maily(event, event.type, {"subscriber": _maily_subscriber(event), "drip": about})
            case _:
                assert_never(profile)
    except (KeyError, TypeError, ValueError) as error:
        raise FactsMissing(f"{type(error).__name__}: {error}") from error


def _mailement(event: Envelope, data: dict[str, Any]) -> bytes:
    return orjson.dumps(
        {
            "event": event.type,
            "brand_slug": event.data["brand_slug"],
            "timestamp": _iso(event.occurred_at),
            "data": data,
        }
    )


def _maily(event: Envelope, name: str, data: dict[str, Any]) -> bytes:
    return orjson.dumps(
        {
            "id": maily_event_id(event.id),
            "event": name,
            "created_at": _iso(event.occurred_at),
            "data": data,
        }
    )


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


def _maily_subscriber(event: Envelope) -> dict[str, Any]:
    """`pending` is no status of Maily's; but who reads `active` may send mail, and it is too early for that."""
    facts = event.data["subscriber"]
    return {
        "id": facts["id"],
        "list_id": event.brand_id,
        "email": facts["email"],
        "first_name": facts["first_name"],
        "last_name": facts["last_name"],
        "status": _MAILY_CONFIRMED if facts["status"] == _CONFIRMED else facts["status"],
        "subscribed_at": _iso_moment(facts["confirmed_at"]),
        "unsubscribed_at": _iso_moment(facts["unsubscribed_at"]),
    }


def _endpoint(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": facts["id"],
        "url": shown_url(facts["url"]),
        "state": facts["state"],
        "state_reason": facts.get("state_reason"),
        "failing_since": _iso_moment(facts.get("failing_since")),
        "consecutive_failures": facts.get("consecutive_failures"),
    }


def _delivery(facts: dict[str, Any] | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {
        "id": facts["id"],
        "event_id": facts["event_id"],
        "type": facts["type"],
        "attempts": facts["attempts"],
        "reason": facts.get("reason"),
        "detail": facts.get("detail"),
        "status": facts.get("status"),
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


def _iso_moment(iso: str | None) -> str | None:
    return None if iso is None else _iso(datetime.fromisoformat(iso))


def _iso(moment: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
