"""An endpoint: one URL that hears the events of a brand, or of all brands of an account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from mailement_common.events.types import EventType
from mailement_common.ids import AccountId, BrandId
from mailement_webhooks.ids import EndpointId


class Profile(StrEnum):
    """Whose headers and payload an endpoint gets."""

    MAILEMENT = "mailement"


class EndpointState(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"


# What the Mailement document posts (section 9).
MAILEMENT_EVENT_TYPES: Final = (
    EventType.SUBSCRIBER_CONFIRMED,
    EventType.SUBSCRIBER_UNSUBSCRIBED,
    EventType.SUBSCRIBER_BOUNCED,
    EventType.SUBSCRIBER_COMPLAINED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`brand_id` None: it hears every brand of the account."""

    id: EndpointId
    account_id: AccountId
    brand_id: BrandId | None
    profile: Profile
    url: str
    event_types: tuple[str, ...]
    state: EndpointState
    created_at: datetime
    updated_at: datetime
