"""Drips when things happen at once, late, or refused: what one does must not undo, hold up or outlive what another did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import EventId, SubscriberId
from mailement_drip_scheduler.handlers import handle
from mailement_drip_scheduler.tick import Ticker
from mailement_newsletter.commands import ById, ChangeTags, Enroll, ReportEvent, Subscribe
from mailement_newsletter.ids import RunId
from mailement_newsletter.rules.addresses import parse_address
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases import enroll as enrolling
from mailement_newsletter.usecases.advance_drips import ALL_DRIPS, SQL, Share, advance_drips
from mailement_newsletter.usecases.change_tags import change_tags
from mailement_newsletter.usecases.enroll import enroll
from mailement_newsletter.usecases.enroll_dated import enroll_dated
from mailement_newsletter.usecases.exit_run import exit_run
from mailement_newsletter.usecases.leave import unsubscribe
from mailement_newsletter.usecases.plan_dates import plan_dates
from mailement_newsletter.usecases.report_event import report_event
from mailement_newsletter.usecases.retry_failed_runs import retry_failed_runs
from mailement_newsletter.usecases.subscribe import subscribe
from mailement_newsletter.usecases.work_drip_jobs import work_drip_job
from tests.support.brands import READER, Tenant
from tests.support.drips import DAY, HOUR, NOON, Series, Step, clock, mail, tell_the_scheduler

ADVANCE: tuple[object, ...] = (NOON, 0, 100, [], [], None, None, *ALL_DRIPS)
THREE_AT_NIGHT = datetime(2031, 5, 5, 3, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _StandingClock:
    moment: datetime

    def now(self) -> datetime:
        return self.moment


def _ticker(brand: Tenant, **given: Any) -> Ticker:
    return Ticker(brand.pool, _StandingClock(NOON), batch=1000, queued=lambda: None, **given)


async def _mail_states(brand: Tenant) -> list[str]:
    return [row["state"] for row in await brand.pool.fetch("SELECT state FROM messages ORDER BY id")]


async def _until_it_waits(brand: Tenant, other: asyncio.Task[object]) -> None:
    """Until somebody waits for a lock, or is through without having to."""
    async with asyncio.timeout(20):
        while not other.done() and not await brand.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)


async def _meanwhile(brand: Tenant, statement: str, *arguments: object, then: Awaitable[object]) -> None:
    """`then` begins while the statement's transaction is open, and ends behind it."""
    async with brand.pool.acquire() as connection:
        async with connection.transaction():
            await connection.fetch(statement, *arguments)
            other = asyncio.ensure_future(then)
            await _until_it_waits(brand, other)
        await other


async def _refuse(brand: Tenant, table: str, subscriber: SubscriberId) -> None:
    await brand.pool.execute(
        f"ALTER TABLE {table} ADD CONSTRAINT poison CHECK (subscriber_id <> {subscriber}) NOT VALID"
    )


# Refusals hold up nobody else.


async def test_a_refused_run_is_found_behind_a_drip_whose_allowance_is_spent(brand: Tenant) -> None:
    paced = await Series.create(brand, mail("p"), max_per_hour=1, name="paced", paced_until=NOON)
    healthy = await Series.create(brand, mail("h"), name="healthy")
    for number in range(60):
        await paced.enroll(await brand.subscriber(f"paced{number}@example.com"))
    bad, good = await brand.subscriber("bad@example.com"), await brand.subscriber("good@example.com")
    await healthy.enroll(bad)
    await healthy.enroll(good)
    await _refuse(brand, "messages", bad)
    await _ticker(brand).advance_all(asyncio.Event())
    assert await healthy.subjects(good) == ["h"]
    assert [run["attempts"] for run in await healthy.runs()] == [1, 0]


async def test_a_drip_that_is_refused_as_a_whole_does_not_starve_the_others(brand: Tenant) -> None:
    broken = await Series.create(brand, Step(kind="delay"), mail("a"), name="broken")
    other = await Series.create(brand, mail("x"), name="other")
    for number in range(120):
        await broken.enroll(await brand.subscriber(f"reader{number}@example.com"))
    await broken.set_step(1, kind="wait_until", params={"date": "no date"})
    await other.enroll(await brand.subscriber())
    ticker = _ticker(brand)
    await ticker.advance_all(asyncio.Event())
    assert await other.subjects() == ["x"]
    assert {run["attempts"] for run in await broken.runs()} == {1}


async def _on_the_day(brand: Tenant, *, name: str = "series", **given: Any) -> Series:
    """A drip that begins at nine on a day of its subscribers' own; NOON's is the one of `_due`."""
    columns = {"trigger": "date", "trigger_field": "day", "trigger_days": 0, **given}
    return await Series.create(brand, mail("a"), name=name, **columns)


async def _due(series: Series, name: str, behind: timedelta = timedelta(0)) -> SubscriberId:
    """Somebody whose day has come, to be taken behind those who are less `behind`."""
    given = {"day": NOON.date().isoformat()}
    subscriber = await series.brand.subscriber(f"{name}@example.com", custom_fields=given)
    await series.pool.execute(
        "INSERT INTO drip_dates (drip_id, subscriber_id, brand_id, due_at) VALUES ($1, $2, $3, $4)",
        series.id,
        subscriber,
        series.brand.id,
        NOON - 3 * HOUR + behind,
    )
    return subscriber


async def test_a_date_that_cannot_be_enrolled_is_put_off_and_no_other(brand: Tenant) -> None:
    await brand.field("day")
    series = await _on_the_day(brand)
    good = [await _due(series, "first")]
    bad = await _due(series, "bad", timedelta(minutes=1))
    good.append(await _due(series, "last", timedelta(minutes=2)))
    await _refuse(brand, "drip_enrollments", bad)
    await enroll_dated(brand.pool, now=NOON, behind=0, batch=10)
    assert [run["subscriber_id"] for run in await series.runs()] == good
    left = await brand.pool.fetch("SELECT subscriber_id, due_at FROM drip_dates")
    assert [(date["subscriber_id"], date["due_at"]) for date in left] == [(bad, NOON + HOUR)]


async def test_a_drip_with_many_dates_does_not_keep_the_others_waiting(brand: Tenant) -> None:
    await brand.field("day")
    busy, other = [await _on_the_day(brand, name=name) for name in ("busy", "other")]
    for number in range(5):
        await _due(busy, f"busy{number}")
    await _due(other, "other")
    behind = 0
    for _ in range(2):
        behind = (await enroll_dated(brand.pool, now=NOON, behind=behind, batch=2)).last_drip_id
    assert (len(await busy.runs()), len(await other.runs())) == (3, 1)


async def test_a_job_that_cannot_be_done_does_not_hold_up_the_others(brand: Tenant) -> None:
    bad = await Series.create(brand, mail("a", 10 * DAY), name="bad")
    good = await Series.create(brand, mail("b", 10 * DAY), name="good")
    subscriber = await brand.subscriber()
    await bad.enroll(subscriber)
    await good.enroll(subscriber)
    await bad.set_step(0, kind="wait_until", params={"date": "no date"})
    await good.set_step(0, delay=DAY)
    await brand.pool.execute(
        "INSERT INTO drip_jobs (drip_id, kind) VALUES ($1, 'retime'), ($2, 'retime')", bad.id, good.id
    )
    while await work_drip_job(brand.pool, now=NOON, size=100):
        pass
    assert (await good.run())["next_run_at"] == NOON + DAY
    job = await brand.pool.fetchrow("SELECT attempts, error FROM drip_jobs WHERE drip_id = $1", bad.id)
    assert job is not None
    assert job["attempts"] == 1
    assert "no date" in job["error"]


# A mail that is late keeps the window all the same.


async def test_a_mail_of_a_drip_that_is_resumed_at_night_waits_for_the_window(brand: Tenant) -> None:
    series = await Series.create(
        brand, mail("a"), mail("b", HOUR), window_start=clock(9), window_end=clock(17)
    )
    await series.enroll(await brand.subscriber())
    await series.tick()
    anchor = (await series.run())["anchor_at"]
    await series.pause()
    series.now = THREE_AT_NIGHT
    await series.resume()
    assert await series.tick() == 0
    run = await series.run()
    assert (run["next_run_at"], run["anchor_at"]) == (THREE_AT_NIGHT + 6 * HOUR, anchor)
    assert await series.tick(by=6 * HOUR) == 1


async def test_an_hourly_allowance_does_not_push_mails_out_of_the_window(brand: Tenant) -> None:
    series = await Series.create(
        brand, mail("a"), window_start=clock(9), window_end=clock(13), max_per_hour=1
    )
    for number in range(4):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    assert [await series.tick(by=by) for by in (timedelta(), HOUR, HOUR, 19 * HOUR)] == [1, 0, 0, 1]


async def test_an_edit_at_night_sends_nothing_at_night(brand: Tenant) -> None:
    series = await Series.create(
        brand, mail("a"), mail("b", 10 * DAY), window_start=clock(9), window_end=clock(17)
    )
    await series.enroll(await brand.subscriber())
    await series.tick()
    await series.set_step(1, delay=HOUR)
    series.now = THREE_AT_NIGHT
    await series.retime()
    assert await series.tick() == 0
    assert (await series.run())["next_run_at"] == THREE_AT_NIGHT + 6 * HOUR


async def test_what_is_left_out_costs_no_allowance(brand: Tenant) -> None:
    series = await Series.create(
        brand, *(mail(name, DAY) for name in "abcde"), catch_up="skip", max_per_hour=1
    )
    for number in range(3):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    await series.pause()
    await series.tick(by=3 * DAY + HOUR)
    await series.resume()
    await series.tick()
    assert [(await series.tallies(number)).get("skipped") for number in range(3)] == [3, 3, 3]


# Starts and ends in one batch of events.


async def test_a_goal_that_is_told_behind_the_start_ends_the_run(brand: Tenant) -> None:
    series = await Series.create(
        brand, mail("a", DAY), trigger="event", trigger_event="trial", goal_events=["bought"]
    )
    subscriber = await brand.subscriber()
    for name in ("trial", "bought"):
        await report_event(
            brand.pool, ReportEvent(brand_id=brand.id, who=ById(subscriber_id=subscriber), name=name)
        )
    await tell_the_scheduler(brand)
    assert [(run["state"], run["exit_reason"]) for run in await series.runs()] == [("exited", "goal")]


async def test_a_topic_that_is_taken_away_behind_the_signup_starts_nothing_that_stays(brand: Tenant) -> None:
    topic = await brand.topic("course")
    series = await Series.create(
        brand,
        mail("a", DAY),
        trigger="topic_added",
        trigger_topic_id=topic,
        exit_topic_ids=[topic],
    )
    subscriber = await brand.subscriber(tags=("course",))
    await change_tags(
        brand.pool, ChangeTags(brand_id=brand.id, who=ById(subscriber_id=subscriber), remove=("course",))
    )
    await tell_the_scheduler(brand)
    assert [run for run in await series.runs() if run["state"] == "active"] == []


# Two at once.


async def test_who_confirms_while_an_event_enrols_him_does_not_wait_for_ever(double_brand: Tenant) -> None:
    series = await Series.create(double_brand, mail("a"), trigger="event", trigger_event="looked")
    subscriber = await double_brand.subscriber(status=SubscriberStatus.PENDING)
    facts = {"subscriber": {"id": subscriber}, "event": {"name": "looked"}, "signup_topic_ids": []}
    looked, confirmed = (
        Envelope(id=EventId(uuid4()), type=kind, brand_id=double_brand.id, occurred_at=NOON, data=facts)
        for kind in (EventType.EVENT_REPORTED, EventType.SUBSCRIBER_CONFIRMED)
    )

    async def confirm() -> None:
        await double_brand.pool.execute(
            "UPDATE subscribers SET status = 'confirmed' WHERE id = $1", subscriber
        )
        async with double_brand.pool.acquire() as connection, connection.transaction():
            await handle(connection, [confirmed])

    async with double_brand.pool.acquire() as connection:
        async with connection.transaction():
            await handle(connection, [looked])
            other = asyncio.create_task(confirm())
            await _until_it_waits(double_brand, other)
        await other
    assert (await series.run())["next_run_at"] is not None


async def test_a_mail_that_is_queued_while_its_run_is_ended_does_not_leave(brand: Tenant) -> None:
    topic = await brand.topic("course")
    series = await Series.create(brand, mail("a"), mail("b", DAY), exit_topic_ids=[topic])
    subscriber = await brand.subscriber(topic_ids=(topic,))
    await series.enroll(subscriber)
    await tell_the_scheduler(brand)
    await change_tags(
        brand.pool, ChangeTags(brand_id=brand.id, who=ById(subscriber_id=subscriber), remove=("course",))
    )
    await _meanwhile(brand, SQL["advance"], *ADVANCE, then=tell_the_scheduler(brand))
    assert (await series.run())["state"] == "exited"
    assert await _mail_states(brand) == ["cancelled"]
    assert await series.tallies(0) == {"ran": 1, "cancelled": 1}


@pytest.mark.parametrize(("was", "becomes", "failed"), [("active", "failed", 0), ("failed", "active", -1)])
async def test_a_run_that_fails_or_is_retried_while_it_is_ended_is_counted_as_what_it_was_by_then(
    brand: Tenant, was: str, becomes: str, failed: int
) -> None:
    series = await Series.create(brand, mail("a", DAY))
    await series.enroll(await brand.subscriber())
    run = RunId((await series.run())["id"])
    await brand.pool.execute("UPDATE drip_enrollments SET state = $1", was)
    set_state = """
    WITH changed AS (UPDATE drip_enrollments SET state = $2 WHERE id = $1 RETURNING drip_id)
    INSERT INTO drip_tallies (drip_id, what, n)
    SELECT c.drip_id, 'failed', CASE $2 WHEN 'failed' THEN 1 ELSE -1 END FROM changed AS c
    """
    await _meanwhile(brand, set_state, run, becomes, then=exit_run(brand.pool, brand.id, run))
    assert (await series.run())["state"] == "exited"
    assert await series.tallies() == {"enrolled": 1, "exited": 1, "failed": failed}


async def test_who_begins_anew_does_not_get_what_the_former_run_had_queued(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", DAY), re_enroll="always")
    subscriber = await brand.subscriber()
    for _ in range(2):
        await series.enroll(subscriber)
        await series.tick()
    assert await _mail_states(brand) == ["cancelled", "queued"]


async def test_who_begins_anew_in_the_middle_of_a_batch_does_not_get_what_it_queues(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", DAY), re_enroll="always")
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    command = Enroll(brand_id=brand.id, drip_id=series.id, who=ById(subscriber_id=subscriber))
    await _meanwhile(brand, SQL["advance"], *ADVANCE, then=enroll(brand.pool, command))
    assert [run["state"] for run in await series.runs()] == ["cancelled", "active"]
    assert await _mail_states(brand) == ["cancelled"]
    assert await series.tallies(0) == {"ran": 1, "cancelled": 1}


async def test_a_date_that_begins_a_drip_anew_in_the_middle_of_a_batch_cancels_what_it_queues(
    brand: Tenant,
) -> None:
    await brand.field("day")
    series = await _on_the_day(brand, re_enroll="always", evergreen=True)
    await series.enroll(await _due(series, "reader"))
    await _meanwhile(
        brand, SQL["advance"], *ADVANCE, then=enroll_dated(brand.pool, now=NOON, behind=0, batch=10)
    )
    assert [run["state"] for run in await series.runs()] == ["cancelled", "active"]
    assert await _mail_states(brand) == ["cancelled"]


async def test_who_leaves_in_the_middle_of_a_batch_does_not_get_what_it_queues_when_he_comes_back(
    brand: Tenant,
) -> None:
    series = await Series.create(brand, mail("a"), mail("b", DAY))
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    leaves = unsubscribe(brand.pool, brand.id, ById(subscriber_id=subscriber))
    await _meanwhile(brand, SQL["advance"], *ADVANCE, then=leaves)
    await brand.subscriber()
    assert await _mail_states(brand) == ["cancelled"]
    assert await series.tallies(0) == {"ran": 1, "cancelled": 1}


async def test_an_event_that_begins_a_drip_anew_cancels_what_was_queued_too(brand: Tenant) -> None:
    series = await Series.create(
        brand, mail("a"), trigger="event", trigger_event="looked", re_enroll="always", evergreen=True
    )
    subscriber = await brand.subscriber()
    for _ in range(2):
        await report_event(
            brand.pool, ReportEvent(brand_id=brand.id, who=ById(subscriber_id=subscriber), name="looked")
        )
        await tell_the_scheduler(brand)
        await series.tick(by=365 * DAY)
    assert await _mail_states(brand) == ["cancelled", "queued"]


async def test_an_edit_reaches_the_runs_that_a_batch_had_in_hand(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), evergreen=True)
    await series.enroll(await brand.subscriber())
    async with brand.pool.acquire() as connection, connection.transaction():
        await connection.fetch(SQL["advance"], *ADVANCE)
        await series.add(9999, mail("b", DAY))
        await series.retime()
    # The second pass comes when no statement from before can be under way any more.
    await brand.pool.execute("UPDATE drip_jobs SET not_before = now()")
    while await work_drip_job(brand.pool, now=NOON, size=100):
        pass
    assert (await series.run())["next_run_at"] == NOON + DAY
    assert await brand.pool.fetchval("SELECT count(*) FROM drip_jobs") == 0


async def test_who_leaves_while_he_is_enrolled_is_not_in_the_drip_when_he_comes_back(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY))
    subscriber = await brand.subscriber()
    await _meanwhile(
        brand,
        enrolling.SQL["enroll"],
        brand.id,
        None,
        subscriber,
        series.id,
        None,
        then=unsubscribe(brand.pool, brand.id, ById(subscriber_id=subscriber)),
    )
    await subscribe(
        brand.pool, Subscribe(brand_id=brand.id, address=parse_address(READER), auto_confirm=True)
    )
    await tell_the_scheduler(brand)
    assert (await series.run())["state"] == "exited"


async def test_of_many_enrolments_at_once_one_run_is_active(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY), re_enroll="always")
    command = Enroll(brand_id=brand.id, drip_id=series.id, who=ById(subscriber_id=await brand.subscriber()))
    await asyncio.gather(*(enroll(brand.pool, command) for _ in range(8)))
    states = [run["state"] for run in await series.runs()]
    assert states.count("active") == 1
    assert await series.tallies() == {
        "enrolled": len(states),
        **({"cancelled": len(states) - 1} if len(states) > 1 else {}),
    }


async def test_who_is_enrolled_while_failed_runs_are_retried_goes_on_in_the_new_run(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY), re_enroll="after_end")
    both, failed = await brand.subscriber("both@example.com"), await brand.subscriber("failed@example.com")
    for subscriber in (both, failed):
        await series.enroll(subscriber)
    await brand.pool.execute("UPDATE drip_enrollments SET state = 'failed', next_run_at = NULL")
    retry = retry_failed_runs(brand.pool, brand.id, series.id)
    await _meanwhile(brand, enrolling.SQL["enroll"], brand.id, None, both, series.id, None, then=retry)
    assert [(run["subscriber_id"], run["state"]) for run in await series.runs()] == [
        (both, "failed"),
        (failed, "active"),
        (both, "active"),
    ]


async def test_an_hourly_allowance_is_one_for_all_schedulers(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), max_per_hour=600)
    for number in range(40):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    sent = 0
    for second in range(0, 60, 6):
        now = NOON + timedelta(seconds=second)
        done = await asyncio.gather(
            *(advance_drips(brand.pool, now=now, behind=0, batch=7) for _ in range(4))
        )
        sent += sum(each.queued for each in done)
        # A minute's worth at once, and one more every six seconds.
        assert sent <= 10 + second // 6
    assert sent >= 11


async def test_a_condition_sees_the_topic_that_another_scheduler_added_a_moment_before(brand: Tenant) -> None:
    topic = await brand.topic("vip")
    series = await Series.create(
        brand,
        Step(kind="add_topic", topic=topic),
        Step(kind="condition", params={"if": {"topic_id": topic}, "then": None, "otherwise": "exit"}),
    )
    for number in range(120):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))

    async def scheduler() -> None:
        idle = 0
        while idle < 5:
            done = await advance_drips(brand.pool, now=NOON, behind=0, batch=6)
            idle = 0 if done.due else idle + 1

    await asyncio.gather(*(scheduler() for _ in range(4)))
    assert {run["state"] for run in await series.runs()} == {"completed"}


async def test_drips_with_an_allowance_that_one_scheduler_does_not_come_to_are_left_to_the_others(
    brand: Tenant,
) -> None:
    for number in range(25):
        series = await Series.create(brand, mail("a"), name=str(number), max_per_hour=1)
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    async with brand.pool.acquire() as connection, connection.transaction():
        await connection.fetch(SQL["advance"], *ADVANCE)
        assert (await advance_drips(brand.pool, now=NOON, behind=0, batch=100)).queued == 5


async def test_many_drips_with_an_allowance_take_turns_beside_a_busy_one(brand: Tenant) -> None:
    tenth = timedelta(seconds=0.1)
    paced = [
        await Series.create(brand, mail("a"), name=str(number), max_per_hour=36_000, paced_until=NOON)
        for number in range(25)
    ]
    busy = await Series.create(brand, mail("b"), name="busy")
    for number in range(40):
        reader = await brand.subscriber(f"reader{number}@example.com")
        await busy.enroll(reader)
        if number < 2:
            for series in paced:
                await series.enroll(reader)
    behind = 0
    for call in (1, 2):
        behind = (
            await advance_drips(brand.pool, now=NOON + call * tenth, behind=behind, batch=24)
        ).last_drip_id
    assert all([await series.subjects() for series in paced])


async def test_the_next_batch_goes_on_behind_the_last_one_also_once_around(brand: Tenant) -> None:
    drips = [await Series.create(brand, mail("a"), name=str(number)) for number in range(3)]
    for series in drips:
        await series.enroll(await brand.subscriber())
    done = await advance_drips(brand.pool, now=NOON, behind=drips[1].id, batch=2)
    assert (set(done.drips), done.last_drip_id) == ({drips[2].id, drips[0].id}, drips[0].id)


async def test_each_share_of_the_drips_is_served_by_its_own_tick(brand: Tenant) -> None:
    drips = [await Series.create(brand, mail("a"), name=str(number)) for number in range(5)]
    for series in drips:
        await series.enroll(await brand.subscriber(f"reader{series.id}@example.com"))
    for part in range(2):
        await _ticker(brand, share=Share(part=part, of=2)).advance_all(asyncio.Event())
        served = {series.id for series in drips if await series.subjects()}
        assert served == {series.id for series in drips if series.id % 2 <= part}


async def test_a_tick_that_is_woken_does_not_wait_for_its_sweep(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"))
    ticker, stop = _ticker(brand, sweep_seconds=600), asyncio.Event()
    running = asyncio.create_task(ticker.run(stop))
    # The first it may find before it sleeps.
    for number in range(3):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
        ticker.wake()
        async with asyncio.timeout(20):
            while len(await series.subjects()) <= number:
                await asyncio.sleep(0.01)
    stop.set()
    await running


# What waits keeps waiting for what it waits for.


async def test_a_date_that_is_moved_while_its_drip_is_paused_is_not_lost(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), trigger="date", trigger_field="day", trigger_days=0)
    subscriber = await brand.subscriber()
    series.now = await brand.pool.fetchval("SELECT now()")

    async def plan(day: datetime) -> None:
        await brand.pool.execute(
            "UPDATE subscribers SET custom_fields = $2 WHERE id = $1",
            subscriber,
            {"day": day.date().isoformat()},
        )
        async with brand.pool.acquire() as connection:
            await plan_dates(connection, [subscriber])

    await plan(series.now + 3 * DAY)
    await series.pause()
    await brand.pool.execute("UPDATE drip_dates SET due_at = now() - interval '3 days'")
    await plan(series.now + 30 * DAY)
    await series.resume()
    assert await series.tick_dated() == 0
    series.now = await brand.pool.fetchval("SELECT due_at FROM drip_dates")
    assert await series.tick_dated() == 1


async def test_a_date_that_was_read_before_a_change_is_not_written_behind_it(brand: Tenant) -> None:
    await brand.field("day")
    await _on_the_day(brand)
    subscriber = await brand.subscriber(custom_fields={"day": "2060-01-01"})

    async def change(day: str) -> None:
        await brand.pool.execute(
            "UPDATE subscribers SET custom_fields = $2, version = version + 1 WHERE id = $1",
            subscriber,
            {"day": day},
        )

    async def plan() -> None:
        async with brand.pool.acquire() as connection:
            await plan_dates(connection, [subscriber])

    await plan()
    await change("2060-02-02")
    async with brand.pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("SELECT FROM drip_dates FOR UPDATE")
            late = asyncio.create_task(plan())
            await _until_it_waits(brand, late)
            await change("2060-03-03")
            await plan_dates(connection, [subscriber])
        await late
    assert await brand.pool.fetchval("SELECT due_at FROM drip_dates") == datetime(2060, 3, 3, 9, tzinfo=UTC)


async def test_a_plan_that_is_older_than_the_date_starts_nothing(brand: Tenant) -> None:
    await brand.field("day")
    series = await _on_the_day(brand)
    subscriber = await _due(series, "reader")
    await brand.pool.execute(
        "UPDATE subscribers SET custom_fields = $2 WHERE id = $1", subscriber, {"day": "2031-06-07"}
    )
    await enroll_dated(brand.pool, now=NOON, behind=0, batch=10)
    assert await series.runs() == []
    assert await brand.pool.fetchval("SELECT due_at FROM drip_dates") == datetime(2031, 6, 7, 9, tzinfo=UTC)


@pytest.mark.parametrize("yearly", [False, True])
async def test_a_date_that_is_due_is_not_lost_when_its_subscriber_changes(
    brand: Tenant, yearly: bool
) -> None:
    await brand.field("day")
    an_hour_ago = (await brand.pool.fetchval("SELECT now()")).replace(microsecond=0) - HOUR
    series = await _on_the_day(brand, trigger_yearly=yearly, trigger_time=an_hour_ago.time(), state="paused")
    subscriber = await brand.subscriber(custom_fields={"day": an_hour_ago.date().isoformat()})
    await brand.pool.execute(
        "INSERT INTO drip_dates (drip_id, subscriber_id, brand_id, due_at) VALUES ($1, $2, $3, $4)",
        series.id,
        subscriber,
        brand.id,
        an_hour_ago,
    )
    await brand.subscriber(first_name="Ada")
    await tell_the_scheduler(brand)
    await series.resume()
    series.now = an_hour_ago + HOUR
    assert await series.tick_dated() == 1


async def test_an_edit_does_not_start_who_has_confirmed_and_is_not_heard_of_yet(double_brand: Tenant) -> None:
    series = await Series.create(double_brand, mail("a", DAY))
    subscriber = await double_brand.subscriber(status=SubscriberStatus.PENDING)
    await series.enroll(subscriber)
    await double_brand.subscriber(status=SubscriberStatus.CONFIRMED)
    series.now += 5 * DAY
    await series.retime()
    assert (await series.run())["next_run_at"] is None
    await tell_the_scheduler(double_brand)
    assert (await series.run())["next_run_at"] is not None


async def test_who_waits_at_the_end_of_an_evergreen_drip_keeps_the_moment_of_his_last_step(
    brand: Tenant,
) -> None:
    series = await Series.create(brand, mail("a"), evergreen=True)
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await series.tick()
    await series.add(9999, mail("b", DAY))
    await (await Series.create(brand, mail("o"), name="other")).enroll(subscriber)
    await tell_the_scheduler(brand)
    await series.retime()
    assert (await series.run())["next_run_at"] == NOON + DAY


async def test_mail_that_is_cancelled_by_leaving_is_counted(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", DAY))
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await series.tick()
    await unsubscribe(brand.pool, brand.id, ById(subscriber_id=subscriber))
    assert await series.tallies(0) == {"ran": 1, "cancelled": 1}


async def test_counts_are_right_again_after_services_that_did_not_count(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", DAY))
    for number in range(3):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    await brand.pool.execute("UPDATE drip_enrollments SET state = 'exited' WHERE id % 3 = 0")
    await brand.pool.execute("DELETE FROM drip_tallies")
    await brand.pool.execute("INSERT INTO drip_jobs (drip_id, kind) VALUES ($1, 'recount')", series.id)
    assert await work_drip_job(brand.pool, now=NOON, size=100)
    assert await series.tallies() == {"enrolled": 3, "exited": 1}


@pytest.mark.parametrize("own", ["europe/berlin", "EUROPE/BERLIN"])
async def test_a_zone_may_be_written_in_any_case(brand: Tenant, own: str) -> None:
    found = await brand.pool.fetchval("SELECT drip_zone('subscriber', $1, $2)", brand.id, {"timezone": own})
    assert found == "Europe/Berlin"
