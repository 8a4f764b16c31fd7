"""What each profile promises to those who receive its posts."""

from __future__ import annotations

from base64 import b32hexencode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import EventId
from mailement_webhooks.endpoints import MAILEMENT_EVENT_TYPES, Profile
from mailement_webhooks.errors import FactsMissing

# Those of our own: every profile can post them, to endpoints that ask for them.
OPERATIONAL_EVENT_TYPES: Final = (
    EventType.ENDPOINT_FAILING,
    EventType.ENDPOINT_DISABLED,
    EventType.DELIVERY_EXHAUSTED,
    EventType.DELIVERY_RECOVERED,
)
# Told when a subscriber reaches a webhook step of a drip; like those above, in no profile's document.
DRIP_EVENT_TYPES: Final = (EventType.DRIP_WEBHOOK,)
OWN_EVENT_TYPES: Final = OPERATIONAL_EVENT_TYPES + DRIP_EVENT_TYPES
MAILY_SUBSCRIBER_CREATED: Final = "subscriber.created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """`event_types`: what the document lists and we can tell, in the document's words.

    `delivery_id_header` None: the profile has none. `connect_seconds` covers name, TCP and TLS; `total_seconds` all.
    """

    event_types: tuple[str, ...]
    event_header: str
    delivery_id_header: str | None
    signature_header: str
    signature_prefix: str
    connect_seconds: float
    total_seconds: float


PROMISES: Final[Mapping[Profile, Promise]] = {
    Profile.MAILEMENT: Promise(
        event_types=MAILEMENT_EVENT_TYPES,
        event_header="X-Mailement-Event",
        delivery_id_header=None,
        signature_header="X-Mailement-Signature",
        signature_prefix="sha256=",
        connect_seconds=3.0,
        total_seconds=5.0,
    ),
    # The document knows one limit, for everything.
    Profile.MAILY: Promise(
        event_types=(
            MAILY_SUBSCRIBER_CREATED,
            EventType.SUBSCRIBER_UNSUBSCRIBED,
            EventType.SUBSCRIBER_BOUNCED,
            EventType.SUBSCRIBER_COMPLAINED,
        ),
        event_header="X-Maily-Event",
        delivery_id_header="X-Maily-Delivery-Id",
        signature_header="X-Maily-Signature",
        signature_prefix="",
        connect_seconds=8.0,
        total_seconds=8.0,
    ),
}

_NEWCOMER: Final = frozenset({EventType.SUBSCRIBER_CONFIRMED, EventType.SUBSCRIBER_PENDING})


def known_event_types(profile: Profile) -> tuple[str, ...]:
    """All that an endpoint of the profile may ask for."""
    return PROMISES[profile].event_types + OWN_EVENT_TYPES


def wire_name(profile: Profile, event: Envelope) -> str | None:
    """What the profile calls this event; None: it does not speak of it. Raises FactsMissing.

    Maily's `subscriber.created` is the first version of a subscriber, whichever state that leads to: a signup that
    waits for its confirmation has been added too, and its status says `pending`. A later confirmation, or somebody who
    comes back, is nobody new.
    """
    if event.type in OWN_EVENT_TYPES:
        return event.type
    match profile:
        case Profile.MAILY if event.type in _NEWCOMER:
            return MAILY_SUBSCRIBER_CREATED if _is_first_version(event) else None
        case Profile.MAILEMENT | Profile.MAILY:
            return event.type if event.type in PROMISES[profile].event_types else None
        case _:
            assert_never(profile)


def maily_event_id(event_id: EventId) -> str:
    """`evt_` and 24 characters [0-9a-v]: 15 of the id's bytes, without the one that tells its version."""
    octets = event_id.bytes
    return "evt_" + b32hexencode(octets[:6] + octets[7:]).decode().lower()


def _is_first_version(event: Envelope) -> bool:
    try:
        return bool(event.data["subscriber"]["version"] == 1)
    except (KeyError, TypeError) as error:
        raise FactsMissing(f"{type(error).__name__}: {error}") from error
