"""POST /api/v1/subscribers/tags (section 7)."""

from __future__ import annotations

from typing import Any

import pytest

from mailement_newsletter.rules.drip_definition import DripTrigger
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import AT_ONCE, READER, MakeTenant, Tenant


async def _change(api: ApiUnderTest, brand: Tenant, **body: Any) -> Answer:
    answer = await api.post("/api/v1/subscribers/tags", {"email": READER, **body}, key=brand.key)
    assert answer.status == 200, answer.body
    return answer


async def test_topics_are_added_and_removed_by_slug(api: ApiUnderTest, brand: Tenant) -> None:
    weekly, deep, kept = [await brand.topic(slug) for slug in ("weekly", "deep", "kept")]
    subscriber = await brand.subscriber(topic_ids=(deep, kept))
    answer = await _change(api, brand, add=["weekly"], remove=["deep"])
    assert answer.body == {"success": True, "subscriber_id": subscriber, "added": [weekly], "removed": [deep]}
    assert (await brand.row())["topic_ids"] == [weekly, kept]


async def test_the_subscriber_may_be_named_by_id(api: ApiUnderTest, brand: Tenant) -> None:
    weekly, subscriber = await brand.topic("weekly"), await brand.subscriber()
    answer = await _change(api, brand, email=None, subscriber_id=subscriber, add=["weekly"])
    assert answer.body["added"] == [weekly]


async def test_the_answer_names_what_really_changed(api: ApiUnderTest, brand: Tenant) -> None:
    old, new, absent = [await brand.topic(slug) for slug in ("old", "new", "absent")]
    await brand.subscriber(topic_ids=(old,))
    answer = await _change(api, brand, add=["old", "new", "new"], remove=["absent"])
    assert (answer.body["added"], answer.body["removed"]) == ([new], [])
    assert absent not in (await brand.row())["topic_ids"]


async def test_a_slug_in_both_arrays_is_removed(api: ApiUnderTest, brand: Tenant) -> None:
    had, new = await brand.topic("had"), await brand.topic("new")
    await brand.subscriber(topic_ids=(had,))
    answer = await _change(api, brand, add=["had", "new"], remove=["had", "new"])
    assert (answer.body["added"], answer.body["removed"]) == ([], [had])
    assert new not in (await brand.row())["topic_ids"]


async def test_slugs_are_those_of_the_keys_brand(api: ApiUnderTest, make_brand: MakeTenant) -> None:
    brand, other = await make_brand(), await make_brand()
    await other.topic("theirs")
    await brand.subscriber()
    assert (await _change(api, brand, add=["theirs"])).body["added"] == []


async def test_unknown_slugs_are_dropped_and_noted(api: ApiUnderTest, brand: Tenant) -> None:
    weekly = await brand.topic("weekly")
    await brand.subscriber()
    answer = await _change(api, brand, add=["weekly", "weakly"], remove=["deap"])
    assert (answer.body["added"], answer.body["removed"]) == ([weekly], [])
    assert await brand.unknown_slugs() == ["deap", "weakly"]


async def test_topics_that_are_not_public_can_be_named(api: ApiUnderTest, brand: Tenant) -> None:
    staff = await brand.topic("staff", public=False)
    await brand.subscriber()
    assert (await _change(api, brand, add=["staff"])).body["added"] == [staff]


@pytest.mark.parametrize(
    "body", [{}, {"add": []}, {"add": None, "remove": None}, {"add": ["weekly"]}, {"remove": ["other"]}]
)
async def test_a_call_that_changes_nothing_writes_nothing(
    api: ApiUnderTest, brand: Tenant, body: dict[str, object]
) -> None:
    weekly = await brand.topic("weekly")
    await brand.topic("other")
    await brand.subscriber(topic_ids=(weekly,))
    before = await brand.row(), await brand.events()
    answer = await _change(api, brand, **body)
    assert (answer.body["added"], answer.body["removed"]) == ([], [])
    assert (await brand.row(), await brand.events()) == before


@pytest.mark.parametrize("status", SubscriberStatus)
async def test_topics_of_every_subscriber_can_be_changed(
    api: ApiUnderTest, double_brand: Tenant, status: SubscriberStatus
) -> None:
    weekly = await double_brand.topic("weekly")
    await double_brand.subscriber(status=status)
    assert (await _change(api, double_brand, add=["weekly"])).body["added"] == [weekly]
    assert (await double_brand.row())["status"] == status


async def test_a_tag_change_starts_no_drip(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.topic("weekly")
    await brand.drip(AT_ONCE, trigger=DripTrigger.TOPIC_ADDED, topic="weekly")
    await brand.subscriber()
    await _change(api, brand, add=["weekly"])
    assert await brand.start_drips() == 0


async def test_a_tag_that_was_added_before_starts_no_drip_at_the_next_signup(
    api: ApiUnderTest, brand: Tenant
) -> None:
    await brand.topic("weekly")
    await brand.subscriber()
    await _change(api, brand, add=["weekly"])
    await brand.drip(AT_ONCE, trigger=DripTrigger.TOPIC_ADDED, topic="weekly")
    await api.post("/api/v1/subscribers", {"email": READER, "tags": ["weekly"]}, key=brand.key)
    assert await brand.start_drips() == 0
