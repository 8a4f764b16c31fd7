"""An integrator who is not sure whether a report arrived sends it again."""

from __future__ import annotations

import asyncio

from mailement_common.db.partitions import make_partitions
from mailement_common.ids import SubscriberId
from mailement_drip_scheduler.housekeeping import REPORTED
from mailement_newsletter.commands import ById, ReportEvent
from mailement_newsletter.usecases.report_event import Reported, report_event
from tests.support.brands import MakeTenant, Tenant
from tests.support.drips import DAY, Series, mail, tell_the_scheduler


async def _report(brand: Tenant, subscriber: SubscriberId, given_id: str | None = "order-1") -> Reported:
    return await report_event(
        brand.pool,
        ReportEvent(brand_id=brand.id, who=ById(subscriber_id=subscriber), name="bought", given_id=given_id),
    )


async def test_what_is_reported_again_starts_no_second_run(brand: Tenant) -> None:
    series = await Series.create(
        brand, mail("a"), trigger="event", trigger_event="bought", re_enroll="after_end"
    )
    subscriber = await brand.subscriber()
    first = await _report(brand, subscriber)
    await tell_the_scheduler(brand)
    await series.tick(by=365 * 10 * DAY)
    assert await _report(brand, subscriber) == first
    await tell_the_scheduler(brand)
    assert [run["state"] for run in await series.runs()] == ["completed"]


async def test_what_is_reported_again_ends_no_later_run(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY), goal_events=["bought"], re_enroll="after_end")
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await _report(brand, subscriber)
    await tell_the_scheduler(brand)
    await series.enroll(subscriber)
    await _report(brand, subscriber)
    await tell_the_scheduler(brand)
    assert [run["state"] for run in await series.runs()] == ["exited", "active"]


async def test_copies_that_arrive_at_the_same_time_are_one_event(brand: Tenant) -> None:
    subscriber = await brand.subscriber()
    answers = await asyncio.gather(*(_report(brand, subscriber) for _ in range(8)))
    (event,) = [event for event in await brand.events() if event["type"] == "event.reported"]
    assert {answer.event_id for answer in answers} == {event["event_id"]}


async def test_an_id_is_of_its_brand_and_no_id_is_no_copy(brand: Tenant, make_brand: MakeTenant) -> None:
    stranger = await make_brand()
    subscriber, other = await brand.subscriber(), await stranger.subscriber()
    answers = [
        await _report(brand, subscriber),
        await _report(stranger, other),
        await _report(brand, subscriber, None),
        await _report(brand, subscriber, None),
    ]
    assert len({answer.event_id for answer in answers}) == 4


async def test_ids_of_a_month_lie_together_and_are_known_all_the_same(brand: Tenant) -> None:
    subscriber = await brand.subscriber()
    first = await _report(brand, subscriber)
    async with brand.pool.acquire() as connection:
        await make_partitions(connection, REPORTED)
    assert await brand.pool.fetchval("SELECT count(*) FROM reported_events_default") == 0
    assert await _report(brand, subscriber) == first
