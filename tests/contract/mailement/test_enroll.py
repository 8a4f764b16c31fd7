"""POST /api/v1/drips/{id}/enroll (section 8)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailement_newsletter.rules.drip_definition import DripState, DripTrigger
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.advance_drips import advance_drips
from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import AT_ONCE, READER, MakeTenant, Tenant

HOUR = timedelta(hours=1)


async def _enroll(api: ApiUnderTest, brand: Tenant, drip: int | str, **body: Any) -> Answer:
    return await api.post(f"/api/v1/drips/{drip}/enroll", body or {"email": READER}, key=brand.key)


async def test_a_reader_is_enrolled_by_email(api: ApiUnderTest, brand: Tenant) -> None:
    drip, subscriber = await brand.drip(AT_ONCE), await brand.subscriber()
    answer = await _enroll(api, brand, drip)
    assert (answer.status, answer.body) == (
        200,
        {"ok": True, "subscriber_id": subscriber, "drip_id": drip, "already_enrolled": False},
    )


async def test_a_reader_is_enrolled_by_id(api: ApiUnderTest, brand: Tenant) -> None:
    drip, subscriber = await brand.drip(AT_ONCE), await brand.subscriber()
    answer = await _enroll(api, brand, drip, subscriber_id=subscriber)
    assert answer.body["subscriber_id"] == subscriber


async def test_the_email_decides_when_both_are_given(api: ApiUnderTest, brand: Tenant) -> None:
    drip, subscriber = await brand.drip(AT_ONCE), await brand.subscriber()
    other = await brand.subscriber("other@example.com")
    answer = await _enroll(api, brand, drip, email=READER, subscriber_id=other)
    assert answer.body["subscriber_id"] == subscriber


@pytest.mark.parametrize("trigger", DripTrigger)
async def test_any_drip_can_be_entered_whatever_its_trigger(
    api: ApiUnderTest, brand: Tenant, trigger: DripTrigger
) -> None:
    await brand.topic("weekly")
    topic = "weekly" if trigger is DripTrigger.TOPIC_ADDED else None
    drip = await brand.drip(AT_ONCE, trigger=trigger, topic=topic)
    await brand.subscriber()
    assert (await _enroll(api, brand, drip)).body["already_enrolled"] is False


async def test_enrolling_twice_makes_one_run(api: ApiUnderTest, brand: Tenant) -> None:
    drip = await brand.drip(HOUR)
    await brand.subscriber()
    await _enroll(api, brand, drip)
    before = await brand.enrollments(), await brand.events()
    again = await _enroll(api, brand, drip)
    assert (again.status, again.body["already_enrolled"]) == (200, True)
    assert (await brand.enrollments(), await brand.events()) == before


@pytest.mark.parametrize("state", ["completed", "exited"])
async def test_who_was_ever_in_the_drip_is_already_enrolled(
    api: ApiUnderTest, brand: Tenant, state: str
) -> None:
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber()
    await _enroll(api, brand, drip)
    await brand.pool.execute("UPDATE drip_enrollments SET state = $1, next_run_at = NULL", state)
    assert (await _enroll(api, brand, drip)).body["already_enrolled"] is True
    assert len(await brand.enrollments()) == 1


async def test_who_has_left_but_was_in_the_drip_is_already_enrolled(api: ApiUnderTest, brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber()
    await _enroll(api, brand, drip)
    await brand.subscriber(status=SubscriberStatus.UNSUBSCRIBED)
    answer = await _enroll(api, brand, drip)
    assert (answer.status, answer.body["already_enrolled"]) == (200, True)


async def test_the_first_delay_counts_from_the_enrolment(api: ApiUnderTest, brand: Tenant) -> None:
    drip = await brand.drip(HOUR)
    await brand.subscriber()
    await _enroll(api, brand, drip)
    (enrollment,) = await brand.enrollments()
    assert enrollment["next_run_at"] == enrollment["enrolled_at"] + HOUR


async def test_steps_begin_with_the_next_tick(api: ApiUnderTest, brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber()
    await _enroll(api, brand, drip)
    now = (await brand.enrollments())[0]["enrolled_at"]
    assert (await advance_drips(brand.pool, now=now, behind=0, batch=10)).queued == 1


async def test_a_pending_reader_waits_in_the_drip_for_the_confirmation(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    drip = await double_brand.drip(HOUR)
    await double_brand.subscriber(status=SubscriberStatus.PENDING)
    assert (await _enroll(api, double_brand, drip)).status == 200
    assert (await double_brand.enrollments())[0]["next_run_at"] is None
    await double_brand.subscriber(status=SubscriberStatus.CONFIRMED)
    await double_brand.start_drips()
    (enrollment,) = await double_brand.enrollments()
    assert enrollment["next_run_at"] == enrollment["anchor_at"] + HOUR


async def test_a_paused_drip_takes_the_enrolment_and_runs_it_when_resumed(
    api: ApiUnderTest, brand: Tenant
) -> None:
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber()
    await brand.set_drip(drip, DripState.PAUSED)
    assert (await _enroll(api, brand, drip)).status == 200
    now = (await brand.enrollments())[0]["enrolled_at"]
    assert (await advance_drips(brand.pool, now=now, behind=0, batch=10)).queued == 0
    await brand.set_drip(drip, DripState.LIVE)
    assert (await advance_drips(brand.pool, now=now, behind=0, batch=10)).queued == 1


@pytest.mark.parametrize(
    "status", [SubscriberStatus.UNSUBSCRIBED, SubscriberStatus.BOUNCED, SubscriberStatus.COMPLAINED]
)
async def test_who_has_left_cannot_be_enrolled_and_the_reason_says_why(
    api: ApiUnderTest, brand: Tenant, status: SubscriberStatus
) -> None:
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber(status=status)
    answer = await _enroll(api, brand, drip)
    assert answer.error == (422, "enroll_failed")
    assert (answer.body["reason"], await brand.enrollments()) == (f"subscriber_{status}", [])


async def test_an_archived_drip_takes_nobody(api: ApiUnderTest, brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber()
    await brand.set_drip(drip, DripState.ARCHIVED)
    answer = await _enroll(api, brand, drip)
    assert (answer.error, answer.body["reason"]) == ((422, "enroll_failed"), "drip_archived")


async def test_a_drip_without_steps_takes_nobody(api: ApiUnderTest, brand: Tenant) -> None:
    drip = await brand.drip()
    await brand.subscriber()
    answer = await _enroll(api, brand, drip)
    assert (answer.error, answer.body["reason"]) == ((422, "enroll_failed"), "drip_has_no_steps")


async def test_a_drip_of_another_brand_is_not_found(api: ApiUnderTest, make_brand: MakeTenant) -> None:
    ours, theirs = await make_brand(), await make_brand()
    drip = await theirs.drip(AT_ONCE)
    await ours.subscriber()
    await theirs.subscriber()
    assert (await _enroll(api, ours, drip)).error == (404, "drip_not_found")
    assert await theirs.enrollments() == []


async def test_a_subscriber_of_another_brand_is_not_found(api: ApiUnderTest, make_brand: MakeTenant) -> None:
    ours, theirs = await make_brand(), await make_brand()
    drip, subscriber = await ours.drip(AT_ONCE), await theirs.subscriber()
    answer = await _enroll(api, ours, drip, subscriber_id=subscriber)
    assert (answer.error, await ours.enrollments()) == ((404, "subscriber_not_found"), [])


@pytest.mark.parametrize(
    "drip",
    [
        "0",
        "999",
        "-1",
        "1.0",
        "1e3",
        "abc",
        "%00",
        "%F0%9F%8E%89",
        "%D9%A1",
        "9223372036854775808",
        "1" * 300,
    ],
)
async def test_an_id_that_is_no_number_of_ours_is_no_drip(
    api: ApiUnderTest, brand: Tenant, drip: str
) -> None:
    await brand.subscriber()
    assert (await _enroll(api, brand, drip)).error == (404, "drip_not_found")
