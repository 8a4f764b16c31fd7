"""What each profile speaks of, and what it calls it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import BrandId, EventId, event_id
from mailement_webhooks.endpoints import MAILEMENT_EVENT_TYPES, Profile
from mailement_webhooks.errors import FactsMissing
from mailement_webhooks.rules.profiles import (
    OWN_EVENT_TYPES,
    PROMISES,
    known_event_types,
    maily_event_id,
    wire_name,
)


def _event(event_type: str, **data: Any) -> Envelope:
    return Envelope(
        id=EventId(UUID(int=1)),
        type=event_type,
        brand_id=BrandId(1),
        occurred_at=datetime(2026, 5, 19, tzinfo=UTC),
        data=data,
    )


def test_every_profile_has_a_promise() -> None:
    assert set(PROMISES) == set(Profile)


def test_the_limits_are_those_of_the_documents() -> None:
    assert (PROMISES[Profile.MAILEMENT].connect_seconds, PROMISES[Profile.MAILEMENT].total_seconds) == (3, 5)
    assert PROMISES[Profile.MAILY].total_seconds == 8


def test_mailement_calls_events_as_we_do() -> None:
    for event_type in EventType:
        name = wire_name(Profile.MAILEMENT, _event(event_type))

        assert name == (event_type if event_type in known_event_types(Profile.MAILEMENT) else None)


def test_mailement_posts_what_its_document_lists_and_our_operational_events() -> None:
    assert known_event_types(Profile.MAILEMENT) == MAILEMENT_EVENT_TYPES + OWN_EVENT_TYPES


@pytest.mark.parametrize("event_type", ["subscriber.confirmed", "subscriber.pending"])
def test_maily_calls_a_first_signup_created(event_type: str) -> None:
    newcomer = _event(event_type, subscriber={"version": 1})

    assert wire_name(Profile.MAILY, newcomer) == "subscriber.created"


@pytest.mark.parametrize("event_type", ["subscriber.confirmed", "subscriber.pending"])
def test_maily_says_nothing_when_somebody_confirms_or_comes_back(event_type: str) -> None:
    known = _event(event_type, subscriber={"version": 2})

    assert wire_name(Profile.MAILY, known) is None


@pytest.mark.parametrize("data", [{}, {"subscriber": None}, {"subscriber": {}}])
def test_a_signup_without_a_version_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(FactsMissing):
        wire_name(Profile.MAILY, _event("subscriber.confirmed", **data))


@pytest.mark.parametrize("profile", list(Profile))
def test_every_profile_names_only_what_it_lists(profile: Profile) -> None:
    names = {wire_name(profile, _event(event_type, subscriber={"version": 1})) for event_type in EventType}

    assert names - {None} == set(known_event_types(profile))


@given(st.integers(1, 2**40), st.integers(1, 2**31))
def test_maily_s_ids_look_as_in_its_document_and_stay_the_same(row_id: int, version: int) -> None:
    of_event = event_id("subscriber", row_id, version)

    assert re.fullmatch(r"evt_[a-z0-9]{24}", maily_event_id(of_event))
    assert maily_event_id(of_event) == maily_event_id(EventId(UUID(str(of_event))))


@given(st.sets(st.tuples(st.integers(1, 2**40), st.integers(1, 2**31)), min_size=2, max_size=20))
def test_other_events_have_other_ids(changes: set[tuple[int, int]]) -> None:
    ids = {maily_event_id(event_id("subscriber", row_id, version)) for row_id, version in changes}

    assert len(ids) == len(changes)
