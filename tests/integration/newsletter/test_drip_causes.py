"""What begins and ends a run, where events are heard late, twice, or in other batches than they happened in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import EventId, SubscriberId
from mailement_drip_scheduler.handlers import handle
from mailement_newsletter.commands import ById, ChangeTags, ReportEvent
from mailement_newsletter.ids import RunId
from mailement_newsletter.usecases.change_tags import change_tags
from mailement_newsletter.usecases.exit_run import exit_run
from mailement_newsletter.usecases.leave import unsubscribe
from mailement_newsletter.usecases.report_event import report_event
from mailement_newsletter.usecases.retry_failed_runs import retry_failed_runs
from tests.support.brands import Tenant
from tests.support.drips import DAY, Series, mail, tell_the_scheduler

SECOND = timedelta(seconds=1)

# Cart and order: the event that begins the drip, and its goal.
CART, ORDER = "cart.created", "order.paid"


async def _carts(brand: Tenant, **columns: Any) -> Series:
    settings = {"trigger": "event", "trigger_event": CART, "goal_events": [ORDER], "re_enroll": "after_end"}
    return await Series.create(brand, mail("a", DAY), **{**settings, **columns})


async def _now(brand: Tenant) -> datetime:
    now: datetime = await brand.pool.fetchval("SELECT clock_timestamp()")
    return now


def _event(
    brand: Tenant,
    subscriber: SubscriberId,
    at: datetime,
    name: str = "",
    *,
    added: tuple[int, ...] = (),
    removed: tuple[int, ...] = (),
) -> Envelope:
    """A reported event, or where it has no name a change of topics."""
    facts: Mapping[str, Any] = {"subscriber": {"id": subscriber}}
    topics = {"signup_topic_ids": list(added), "removed_topic_ids": list(removed)}
    return Envelope(
        id=EventId(uuid4()),
        type=EventType.EVENT_REPORTED if name else EventType.SUBSCRIBER_UPDATED,
        brand_id=brand.id,
        occurred_at=at,
        data={**facts, "event": {"name": name}} if name else {**facts, **topics},
    )


async def _hear(brand: Tenant, *events: Envelope) -> None:
    """One batch."""
    async with brand.pool.acquire() as connection, connection.transaction():
        await handle(connection, events)


async def _as_if_heard_at_once(brand: Tenant) -> None:
    await brand.pool.execute("UPDATE drip_enrollments SET enrolled_at = caused_at")


async def _states(series: Series) -> list[str]:
    return [run["state"] for run in await series.runs()]


async def test_what_happened_behind_the_goal_begins_a_run_though_both_are_heard_late(brand: Tenant) -> None:
    series = await _carts(brand)
    subscriber, now = await brand.subscriber(), await _now(brand)
    await _hear(brand, _event(brand, subscriber, now - 60 * SECOND, CART))
    await _as_if_heard_at_once(brand)
    await _hear(brand, _event(brand, subscriber, now - 10 * SECOND, ORDER))
    await _hear(brand, _event(brand, subscriber, now - 5 * SECOND, CART))
    assert await _states(series) == ["exited", "active"]


async def test_a_topic_that_was_given_up_and_taken_again_begins_a_run_though_both_are_heard_late(
    brand: Tenant,
) -> None:
    topic = await brand.topic("course")
    series = await Series.create(
        brand,
        mail("a", DAY),
        trigger="topic_added",
        trigger_topic_id=topic,
        exit_topic_ids=[topic],
        re_enroll="after_end",
    )
    subscriber, now = await brand.subscriber(topic_ids=(topic,)), await _now(brand)
    await _hear(brand, _event(brand, subscriber, now - 60 * SECOND, added=(topic,)))
    await _as_if_heard_at_once(brand)
    await _hear(brand, _event(brand, subscriber, now - 10 * SECOND, removed=(topic,)))
    await _hear(brand, _event(brand, subscriber, now - 5 * SECOND, added=(topic,)))
    assert await _states(series) == ["exited", "active"]


@pytest.mark.parametrize("seconds", [9, 11], ids=["behind its cause", "before its cause"])
async def test_what_was_no_occasion_during_a_run_is_none_when_its_copy_comes_behind_the_end(
    brand: Tenant, seconds: int
) -> None:
    series = await _carts(brand)
    subscriber, now = await brand.subscriber(), await _now(brand)
    another = _event(brand, subscriber, now - seconds * SECOND, CART)
    await _hear(brand, _event(brand, subscriber, now - 10 * SECOND, CART))
    await _hear(brand, another)
    await _hear(brand, _event(brand, subscriber, now - 5 * SECOND, ORDER))
    await _hear(brand, another)
    assert await _states(series) == ["exited"]


async def test_a_batch_that_comes_again_ends_nothing_that_began_behind_it(brand: Tenant) -> None:
    series = await _carts(brand)
    subscriber, now = await brand.subscriber(), await _now(brand)
    batch = [
        _event(brand, subscriber, now - 10 * SECOND, ORDER),
        _event(brand, subscriber, now - 5 * SECOND, CART),
    ]
    await _hear(brand, *batch)
    await _hear(brand, *batch)
    assert await _states(series) == ["active"]


async def test_an_event_that_is_goal_and_trigger_ends_one_run_and_begins_the_next_once(brand: Tenant) -> None:
    series = await _carts(brand, trigger_event=ORDER)
    subscriber, now = await brand.subscriber(), await _now(brand)
    for seconds in (10, 5):
        order = _event(brand, subscriber, now - seconds * SECOND, ORDER)
        await _hear(brand, order)
        await _hear(brand, order, order)
    assert await _states(series) == ["exited", "active"]


async def test_who_was_enrolled_by_hand_behind_the_goal_stays(brand: Tenant) -> None:
    series = await _carts(brand)
    subscriber = await brand.subscriber()
    before = await _now(brand)
    await series.enroll(subscriber)
    await _hear(brand, _event(brand, subscriber, before, ORDER))
    assert await _states(series) == ["active"]
    await _hear(brand, _event(brand, subscriber, await _now(brand), ORDER))
    assert await _states(series) == ["exited"]


async def test_of_runs_that_an_earlier_release_began_the_enrolment_is_the_cause(brand: Tenant) -> None:
    series = await _carts(brand)
    subscriber, now = await brand.subscriber(), await _now(brand)
    await _hear(brand, _event(brand, subscriber, now - 10 * SECOND, CART))
    await brand.pool.execute("UPDATE drip_enrollments SET caused_at = NULL")
    await _hear(brand, _event(brand, subscriber, now - 5 * SECOND, ORDER))
    assert await _states(series) == ["active"]
    await _hear(brand, _event(brand, subscriber, await _now(brand), ORDER))
    assert await _states(series) == ["exited"]


# Runs that failed.


async def _failed(brand: Tenant, **columns: Any) -> tuple[Series, SubscriberId]:
    series = await Series.create(brand, mail("a", DAY), **columns)
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await brand.pool.execute(
        "UPDATE drip_enrollments SET state = 'failed', next_run_at = NULL, attempts = 5, error = 'x', ended_at = now()"
    )
    await brand.pool.execute(
        "INSERT INTO drip_tallies (drip_id, what, n) VALUES ($1, 'failed', 1)", series.id
    )
    return series, subscriber


async def _assert_out(series: Series, reason: str) -> None:
    run = await series.run()
    assert (run["state"], run["exit_reason"]) == ("exited", reason)
    assert await series.tallies() == {"enrolled": 1, "failed": 0, "exited": 1}
    assert await retry_failed_runs(series.pool, series.brand.id, series.id) == 0


async def test_whoever_is_taken_out_of_a_failed_run_is_not_in_it_after_a_retry(brand: Tenant) -> None:
    series, _ = await _failed(brand)
    run = RunId((await series.run())["id"])
    assert await exit_run(brand.pool, brand.id, run)
    assert not await exit_run(brand.pool, brand.id, run)
    await _assert_out(series, "removed")


async def test_reaching_the_goal_ends_a_failed_run(brand: Tenant) -> None:
    series, subscriber = await _failed(brand, goal_events=[ORDER])
    await report_event(
        brand.pool, ReportEvent(brand_id=brand.id, who=ById(subscriber_id=subscriber), name=ORDER)
    )
    await tell_the_scheduler(brand)
    await _assert_out(series, "goal")


async def test_giving_up_a_topic_ends_a_failed_run(brand: Tenant) -> None:
    topic = await brand.topic("course")
    series, subscriber = await _failed(brand, exit_topic_ids=[topic])
    who = ById(subscriber_id=subscriber)
    await change_tags(brand.pool, ChangeTags(brand_id=brand.id, who=who, add=("course",)))
    await change_tags(brand.pool, ChangeTags(brand_id=brand.id, who=who, remove=("course",)))
    await tell_the_scheduler(brand)
    await _assert_out(series, "topic_removed")


async def test_leaving_ends_a_failed_run(brand: Tenant) -> None:
    series, subscriber = await _failed(brand)
    # The series has a clock of its own, years ahead.
    await brand.pool.execute("UPDATE drip_enrollments SET enrolled_at = now()")
    await unsubscribe(brand.pool, brand.id, ById(subscriber_id=subscriber))
    await tell_the_scheduler(brand)
    await _assert_out(series, "unsubscribed")
