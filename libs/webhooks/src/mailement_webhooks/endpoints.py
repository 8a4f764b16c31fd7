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
    MAILY = "maily"


class EndpointState(StrEnum):
    """`paused` by people, `disabled` by the dispatcher's rules: both hold what comes."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"
    DELETED = "deleted"


class StateReason(StrEnum):
    """Why an endpoint is not enabled."""

    BY_OPERATOR = "by_operator"
    NO_SUCCESS = "no_success"
    GONE = "gone"


class RetryMode(StrEnum):
    """`once` is the v1 contract: one attempt for each event."""

    SCHEDULE = "schedule"
    ONCE = "once"


class Drain(StrEnum):
    """What becomes of what was held, when an endpoint is enabled again."""

    OLDEST_FIRST = "oldest_first"
    NEWEST_ONLY = "newest_only"
    DISCARD = "discard"


# What the Mailement document posts (section 9).
MAILEMENT_EVENT_TYPES: Final = (
    EventType.SUBSCRIBER_CONFIRMED,
    EventType.SUBSCRIBER_UNSUBSCRIBED,
    EventType.SUBSCRIBER_BOUNCED,
    EventType.SUBSCRIBER_COMPLAINED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`brand_id` None: it hears every brand of the account.

    `event_types`: in the words of its profile. `max_in_flight` None: the dispatcher's setting. `rate_per_second` None:
    no limit. `version` counts its changes.
    """

    id: EndpointId
    account_id: AccountId
    brand_id: BrandId | None
    profile: Profile
    url: str
    description: str | None
    event_types: tuple[str, ...]
    state: EndpointState
    state_reason: StateReason | None
    state_changed_at: datetime
    retries: RetryMode
    ordered: bool
    max_in_flight: int | None
    rate_per_second: float | None
    secret_staged_at: datetime | None
    secret_promoted_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
