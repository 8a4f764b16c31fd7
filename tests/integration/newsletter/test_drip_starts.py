"""Who is put into a drip by signing up, and when a waiting enrolment begins to run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from mailement_common.ids import EventId, SubscriberId
from mailement_newsletter.commands import ById, Enroll
from mailement_newsletter.rules.drip_definition import DripState, DripTrigger
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.enroll import enroll
from mailement_newsletter.usecases.start_drips import Occasion, start_drips
from tests.support.brands import AT_ONCE, MakeTenant, Tenant

HOUR = timedelta(hours=1)


async def _start(
    brand: Tenant,
    subscriber: SubscriberId,
    *,
    confirmed: bool = True,
    topics: tuple[int, ...] = (),
    waiting: Sequence[SubscriberId] = (),
    happened_at: datetime | None = None,
) -> int:
    occasion = Occasion(
        cause=EventId(uuid4()),
        happened_at=happened_at or await brand.pool.fetchval("SELECT now()"),
        brand_id=brand.id,
        subscriber_id=subscriber,
        confirmed=confirmed,
        topic_ids=topics,
    )
    async with brand.pool.acquire() as connection, connection.transaction():
        return await start_drips(connection, [occasion], waiting)


async def _drips_entered(brand: Tenant) -> list[int]:
    return [enrollment["drip_id"] for enrollment in await brand.enrollments()]


async def test_a_confirmation_starts_the_drips_that_wait_for_one(brand: Tenant) -> None:
    welcome = await brand.drip(HOUR, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    await brand.drip(HOUR, trigger=DripTrigger.MANUAL, name="manual")
    assert await _start(brand, await brand.subscriber()) == 1
    (enrollment,) = await brand.enrollments()
    assert (enrollment["drip_id"], enrollment["state"]) == (welcome, "active")
    assert enrollment["next_run_at"] == enrollment["enrolled_at"] + HOUR


async def test_a_topic_starts_the_drips_that_wait_for_it(brand: Tenant) -> None:
    weekly, daily = await brand.topic("weekly"), await brand.topic("daily")
    drip = await brand.drip(AT_ONCE, trigger=DripTrigger.TOPIC_ADDED, topic="weekly")
    subscriber = await brand.subscriber(topic_ids=(weekly, daily))
    assert await _start(brand, subscriber, confirmed=False, topics=(daily,)) == 0
    assert await _start(brand, subscriber, confirmed=False, topics=(weekly, daily)) == 1
    assert await _drips_entered(brand) == [drip]


async def test_a_topic_alone_does_not_start_what_waits_for_a_confirmation(brand: Tenant) -> None:
    weekly = await brand.topic("weekly")
    await brand.drip(AT_ONCE, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    assert await _start(brand, await brand.subscriber(), confirmed=False, topics=(weekly,)) == 0


async def test_hearing_of_a_signup_twice_starts_nothing_twice(brand: Tenant) -> None:
    await brand.drip(AT_ONCE, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    subscriber = await brand.subscriber()
    assert [await _start(brand, subscriber), await _start(brand, subscriber)] == [1, 0]


async def test_who_has_been_through_a_drip_does_not_enter_it_again(brand: Tenant) -> None:
    await brand.drip(AT_ONCE, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    subscriber = await brand.subscriber()
    await _start(brand, subscriber)
    await brand.pool.execute("UPDATE drip_enrollments SET state = 'completed', next_run_at = NULL")
    assert await _start(brand, subscriber) == 0


async def test_what_happened_during_a_run_starts_nothing_when_its_copy_comes_behind_the_end(
    brand: Tenant,
) -> None:
    drip = await brand.drip(HOUR, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    await brand.pool.execute("UPDATE drips SET re_enroll = 'after_end' WHERE id = $1", drip)
    subscriber = await brand.subscriber()
    await _start(brand, subscriber)
    heard = await brand.pool.fetchval("SELECT now()")
    assert await _start(brand, subscriber, happened_at=heard) == 0
    await brand.pool.execute(
        "UPDATE drip_enrollments SET state = 'completed', next_run_at = NULL, ended_at = now()"
    )
    assert await _start(brand, subscriber, happened_at=heard) == 0
    assert await _start(brand, subscriber) == 1


@pytest.mark.parametrize("status", [one for one in SubscriberStatus if one is not SubscriberStatus.CONFIRMED])
async def test_who_is_not_confirmed_by_then_is_not_enrolled(
    double_brand: Tenant, status: SubscriberStatus
) -> None:
    await double_brand.drip(AT_ONCE, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    assert await _start(double_brand, await double_brand.subscriber(status=status)) == 0


async def test_a_paused_drip_takes_newcomers(brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    await brand.set_drip(drip, DripState.PAUSED)
    assert await _start(brand, await brand.subscriber()) == 1


async def test_an_archived_drip_takes_nobody(brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    await brand.set_drip(drip, DripState.ARCHIVED)
    assert await _start(brand, await brand.subscriber()) == 0


async def test_a_drip_without_steps_takes_nobody(brand: Tenant) -> None:
    await brand.drip(trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    assert await _start(brand, await brand.subscriber()) == 0


async def test_drips_of_another_brand_are_not_started(make_brand: MakeTenant) -> None:
    ours, theirs = await make_brand(), await make_brand()
    await theirs.drip(AT_ONCE, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    assert await _start(ours, await ours.subscriber()) == 0


async def test_a_pending_subscriber_waits_until_he_is_confirmed(double_brand: Tenant) -> None:
    drip = await double_brand.drip(HOUR)
    subscriber = await double_brand.subscriber(status=SubscriberStatus.PENDING)
    await enroll(
        double_brand.pool,
        Enroll(brand_id=double_brand.id, drip_id=drip, who=ById(subscriber_id=subscriber)),
    )
    await _start(double_brand, subscriber, waiting=[subscriber])
    (waiting,) = await double_brand.enrollments()
    assert (waiting["state"], waiting["next_run_at"]) == ("active", None)


async def test_the_first_delay_of_a_pending_subscriber_counts_from_the_confirmation(
    double_brand: Tenant,
) -> None:
    drip = await double_brand.drip(HOUR)
    subscriber = await double_brand.subscriber(status=SubscriberStatus.PENDING)
    await enroll(
        double_brand.pool,
        Enroll(brand_id=double_brand.id, drip_id=drip, who=ById(subscriber_id=subscriber)),
    )
    await double_brand.subscriber(status=SubscriberStatus.CONFIRMED)
    await _start(double_brand, subscriber, waiting=[subscriber])
    (released,) = await double_brand.enrollments()
    assert released["anchor_at"] > released["enrolled_at"]
    assert released["next_run_at"] == released["anchor_at"] + HOUR


async def test_being_released_twice_does_not_set_the_clock_back(double_brand: Tenant) -> None:
    drip = await double_brand.drip(HOUR)
    subscriber = await double_brand.subscriber(status=SubscriberStatus.PENDING)
    await enroll(
        double_brand.pool,
        Enroll(brand_id=double_brand.id, drip_id=drip, who=ById(subscriber_id=subscriber)),
    )
    await double_brand.subscriber(status=SubscriberStatus.CONFIRMED)
    await _start(double_brand, subscriber, waiting=[subscriber])
    before = await double_brand.enrollments()
    await _start(double_brand, subscriber, waiting=[subscriber, subscriber])
    assert await double_brand.enrollments() == before
