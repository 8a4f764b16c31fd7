"""POST /api/v1/subscribers/unsubscribe (section 6)."""

from __future__ import annotations

import pytest

from mailement_newsletter.rules.lifecycle import SubscriberStatus
from tests.support.api import ApiUnderTest
from tests.support.brands import AT_ONCE, READER, Tenant

PATH = "/api/v1/subscribers/unsubscribe"


async def test_a_reader_is_opted_out_by_email(api: ApiUnderTest, brand: Tenant) -> None:
    subscriber = await brand.subscriber()
    answer = await api.post(PATH, {"email": READER.upper()}, key=brand.key)
    row = await brand.row()
    assert (answer.status, answer.body) == (200, {"success": True, "subscriber_id": subscriber})
    assert row["status"] == "unsubscribed"
    assert row["unsubscribed_at"] is not None


async def test_a_reader_is_opted_out_by_id(api: ApiUnderTest, brand: Tenant) -> None:
    subscriber = await brand.subscriber()
    answer = await api.post(PATH, {"subscriber_id": subscriber}, key=brand.key)
    assert answer.body == {"success": True, "subscriber_id": subscriber}
    assert (await brand.row())["status"] == "unsubscribed"


async def test_the_email_decides_when_both_are_given(api: ApiUnderTest, brand: Tenant) -> None:
    subscriber, other = await brand.subscriber(), await brand.subscriber("other@example.com")
    answer = await api.post(PATH, {"email": READER, "subscriber_id": other}, key=brand.key)
    assert answer.body["subscriber_id"] == subscriber
    assert (await brand.row("other@example.com"))["status"] == "confirmed"


async def test_a_pending_reader_can_leave(api: ApiUnderTest, double_brand: Tenant) -> None:
    await double_brand.subscriber(status=SubscriberStatus.PENDING)
    await api.post(PATH, {"email": READER}, key=double_brand.key)
    assert (await double_brand.row())["status"] == "unsubscribed"


async def test_the_event_is_told_on_the_first_call_only(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.subscriber()
    first = await api.post(PATH, {"email": READER}, key=brand.key)
    row = await brand.row()
    second = await api.post(PATH, {"email": READER}, key=brand.key)
    assert first.body == second.body
    assert await brand.row() == row
    assert await brand.event_types() == ["subscriber.confirmed", "subscriber.unsubscribed"]


@pytest.mark.parametrize("status", [SubscriberStatus.BOUNCED, SubscriberStatus.COMPLAINED])
async def test_bounced_and_complained_readers_are_answered_and_left_as_they_are(
    api: ApiUnderTest, brand: Tenant, status: SubscriberStatus
) -> None:
    subscriber = await brand.subscriber(status=status)
    before = await brand.row(), await brand.events()
    answer = await api.post(PATH, {"email": READER}, key=brand.key)
    assert (answer.status, answer.body) == (200, {"success": True, "subscriber_id": subscriber})
    assert (await brand.row(), await brand.events()) == before


async def test_leaving_ends_the_readers_drips(api: ApiUnderTest, brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber()
    await api.post(f"/api/v1/drips/{drip}/enroll", {"email": READER}, key=brand.key)
    await api.post(PATH, {"email": READER}, key=brand.key)
    (enrollment,) = await brand.enrollments()
    assert (enrollment["state"], enrollment["exit_reason"]) == ("exited", "unsubscribed")


async def test_topics_are_kept_for_a_return(api: ApiUnderTest, brand: Tenant) -> None:
    topic = await brand.topic("weekly")
    await brand.subscriber(topic_ids=(topic,))
    await api.post(PATH, {"email": READER}, key=brand.key)
    assert (await brand.row())["topic_ids"] == [topic]
