"""Which events are posted, and as what."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

import pytest

from mailement_common.bus.topology import WEBHOOKS
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import BrandId, EventId
from mailement_webhook_dispatcher.handlers import posts_of
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.errors import FactsMissing
from mailement_webhooks.rules.profiles import known_event_types
from tests.support.webhooks import subscriber_facts

_ENDPOINT = {"id": 7, "url": "https://receiver.example/hook", "state": "enabled"}


def _event(event_type: EventType, **data: Any) -> Envelope:
    return Envelope(
        id=EventId(UUID(int=1)),
        type=event_type,
        brand_id=BrandId(3),
        occurred_at=datetime(2026, 5, 19, tzinfo=UTC),
        data={"brand_slug": "nowness", **data},
    )


def test_a_subscribers_event_is_posted_as_each_profile_puts_it() -> None:
    posts = list(posts_of(_event(EventType.SUBSCRIBER_CONFIRMED, subscriber=subscriber_facts())))

    assert [(post.profile, post.type, post.order_key, post.about_endpoint) for post in posts] == [
        (Profile.MAILEMENT, "subscriber.confirmed", 41023, None),
        (Profile.MAILY, "subscriber.created", 41023, None),
    ]


def test_an_operational_event_says_whom_it_is_about() -> None:
    posts = list(posts_of(_event(EventType.ENDPOINT_FAILING, endpoint=_ENDPOINT)))

    assert [(post.type, post.order_key, post.about_endpoint) for post in posts] == [
        ("endpoint.failing", None, 7)
    ] * len(Profile)


def test_what_no_profile_speaks_of_is_not_posted() -> None:
    assert not list(posts_of(_event(EventType.DRIP_ENROLLED)))


def test_an_event_without_its_facts_is_refused() -> None:
    with pytest.raises(FactsMissing):
        list(posts_of(_event(EventType.SUBSCRIBER_CONFIRMED)))


def test_the_queue_hears_every_type_that_is_posted() -> None:
    posted = {name for profile in Profile for name in known_event_types(profile)} & set(EventType)

    assert all(any(fnmatchcase(name, heard) for heard in WEBHOOKS.hears) for name in posted)
