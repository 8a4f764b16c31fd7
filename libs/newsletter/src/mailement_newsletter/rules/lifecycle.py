"""The states of a subscriber and the ways between them.

Signing up is decided in `usecases/subscribe.sql`, in the words of the same table (docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class SubscriberStatus(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"


class OptInMode(StrEnum):
    SINGLE = "single"
    DOUBLE = "double"


# From where each way out may be taken. A complaint outweighs a bounce, and both outweigh a wish to leave:
# what was said by the mail system is not unsaid by a form.
LEAVES_FROM: Final[Mapping[SubscriberStatus, tuple[SubscriberStatus, ...]]] = {
    SubscriberStatus.UNSUBSCRIBED: (SubscriberStatus.PENDING, SubscriberStatus.CONFIRMED),
    SubscriberStatus.BOUNCED: (
        SubscriberStatus.PENDING,
        SubscriberStatus.CONFIRMED,
        SubscriberStatus.UNSUBSCRIBED,
    ),
    SubscriberStatus.COMPLAINED: (
        SubscriberStatus.PENDING,
        SubscriberStatus.CONFIRMED,
        SubscriberStatus.UNSUBSCRIBED,
        SubscriberStatus.BOUNCED,
    ),
}


def status_after_signup(
    current: SubscriberStatus | None, mode: OptInMode, *, auto_confirm: bool
) -> SubscriberStatus:
    """The state that a signup leads to; `current` None means that the address is new to the brand.

    The statement of `usecases/subscribe.sql` says the same, and a test compares the two.
    """
    confirmed_at_once = auto_confirm or mode is OptInMode.SINGLE
    match current:
        case SubscriberStatus.CONFIRMED | SubscriberStatus.BOUNCED | SubscriberStatus.COMPLAINED:
            return current
        case SubscriberStatus.PENDING | SubscriberStatus.UNSUBSCRIBED | None:
            return SubscriberStatus.CONFIRMED if confirmed_at_once else SubscriberStatus.PENDING
