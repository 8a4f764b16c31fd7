"""What the settings of an endpoint may be."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

from mailement_webhooks.endpoints import Profile
from mailement_webhooks.errors import InvalidEndpoint
from mailement_webhooks.rules.profiles import known_event_types

LONGEST_DESCRIPTION: Final = 200
MOST_IN_FLIGHT: Final = 1_000
SLOWEST_RATE: Final = 0.001
FASTEST_RATE: Final = 10_000.0


def check_event_types(profile: Profile, event_types: Sequence[str]) -> tuple[str, ...]:
    """Each once, in the profile's order. Raises InvalidEndpoint."""
    known = known_event_types(profile)
    for event_type in event_types:
        if event_type not in known:
            raise InvalidEndpoint("event_types", f"{event_type[:100]!r} is none of {', '.join(known)}")
    if not event_types:
        raise InvalidEndpoint("event_types", "an endpoint that hears nothing is of no use")
    return tuple(event_type for event_type in known if event_type in event_types)


def check_description(description: str | None) -> str | None:
    """Trimmed; None where nothing is left. Raises InvalidEndpoint."""
    text = (description or "").strip()
    if len(text) > LONGEST_DESCRIPTION:
        raise InvalidEndpoint("description", f"has more than {LONGEST_DESCRIPTION} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise InvalidEndpoint("description", "has control characters in it")
    return text or None


def check_max_in_flight(most: int | None) -> int | None:
    """Raises InvalidEndpoint."""
    if most is not None and not 1 <= most <= MOST_IN_FLIGHT:
        raise InvalidEndpoint("max_in_flight", f"is not between 1 and {MOST_IN_FLIGHT}")
    return most


def check_rate(rate: float | None) -> float | None:
    """Deliveries a second. Raises InvalidEndpoint."""
    if rate is not None and not SLOWEST_RATE <= rate <= FASTEST_RATE:
        raise InvalidEndpoint("rate_per_second", f"is not between {SLOWEST_RATE:g} and {FASTEST_RATE:,.0f}")
    return rate
