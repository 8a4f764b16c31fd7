"""The rules of a drip: what happens when it is edited, paused, left, entered again, or late."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailement_newsletter.commands import ByEmail, ById, ChangeTags, Enroll, ReportEvent, Subscribe
from mailement_newsletter.errors import CannotEnroll, SubscriberNotFound
from mailement_newsletter.rules.addresses import parse_address
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.change_tags import change_tags
from mailement_newsletter.usecases.enroll import enroll
from mailement_newsletter.usecases.leave import unsubscribe
from mailement_newsletter.usecases.report_event import report_event
from mailement_newsletter.usecases.subscribe import subscribe
from tests.support.brands import READER, Tenant
from tests.support.drips import DAY, HOUR, NOON, Series, Step, mail, tell_the_scheduler

# Edits: the cursor only moves forward, and a delay is reckoned from when the step before it ran.


async def test_reordered_steps_run_in_their_new_order_and_none_twice(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", HOUR), mail("c", HOUR), mail("d", HOUR))
    await series.enroll(await brand.subscriber())
    await series.tick()
    await series.pool.execute(
        """
        UPDATE drip_steps SET position = CASE id WHEN $1::bigint THEN 4096 WHEN $2::bigint THEN 2048 ELSE position END
        WHERE drip_id = $3
        """,
        series.step_ids[1],
        series.step_ids[3],
        series.id,
    )
    for _ in range(4):
        await series.tick(by=HOUR)
    assert await series.subjects() == ["a", "d", "c", "b"]


async def test_a_shortened_delay_is_honoured_for_those_on_the_way(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", 10 * DAY))
    await series.enroll(await brand.subscriber())
    await series.tick()
    await series.set_step(1, delay=2 * DAY)
    await series.retime()
    assert (await series.run())["next_run_at"] == NOON + 2 * DAY


async def test_a_lengthened_delay_is_honoured_for_those_on_the_way(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", 2 * DAY))
    await series.enroll(await brand.subscriber())
    await series.tick()
    await series.set_step(1, delay=10 * DAY)
    await series.retime()
    assert (await series.run())["next_run_at"] == NOON + 10 * DAY


async def test_a_delay_that_is_over_by_the_edit_makes_the_step_due_at_once(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", 10 * DAY))
    await series.enroll(await brand.subscriber())
    await series.tick()
    series.now += 5 * DAY
    await series.set_step(1, delay=HOUR)
    await series.retime()
    assert (await series.run())["next_run_at"] == series.now
    assert await series.tick() == 1


async def test_an_edit_reaches_every_run_slice_by_slice(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", 10 * DAY))
    for number in range(7):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    await series.set_step(0, delay=DAY)
    await series.retime(size=2)
    assert {run["next_run_at"] for run in await series.runs()} == {NOON + DAY}


async def test_an_edit_does_not_start_who_waits_for_a_confirmation(double_brand: Tenant) -> None:
    series = await Series.create(double_brand, mail("a", 10 * DAY))
    await series.enroll(await double_brand.subscriber(status=SubscriberStatus.PENDING))
    await series.set_step(0, delay=DAY)
    await series.retime()
    assert (await series.run())["next_run_at"] is None


async def test_a_run_whose_last_steps_were_deleted_is_completed(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", DAY))
    await series.enroll(await brand.subscriber())
    await series.tick()
    await series.set_step(1, deleted_at=NOON)
    await series.retime()
    await series.tick()
    assert (await series.run())["state"] == "completed"


async def test_a_step_added_to_an_evergreen_drip_reaches_those_who_had_come_to_its_end(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), evergreen=True)
    await series.enroll(await brand.subscriber())
    await series.tick()
    waiting = await series.run()
    assert (waiting["state"], waiting["next_run_at"]) == ("active", None)
    await series.add(9999, mail("b", DAY))
    await series.retime()
    assert await series.tick(by=DAY) == 1
    assert await series.subjects() == ["a", "b"]


async def test_who_waits_at_the_end_has_completed_a_drip_that_is_evergreen_no_more(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), evergreen=True)
    await series.enroll(await brand.subscriber())
    await series.tick()
    await series.set(evergreen=False)
    await series.retime()
    await series.tick()
    assert (await series.run())["state"] == "completed"


async def test_a_step_added_to_an_ordinary_drip_does_not_reach_who_has_completed_it(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"))
    await series.enroll(await brand.subscriber())
    await series.tick()
    await series.add(9999, mail("b"))
    await series.retime()
    assert await series.tick(by=DAY) == 0


# Pauses and downtime.


async def test_the_countdown_goes_on_while_the_drip_is_paused(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", 3 * DAY))
    await series.enroll(await brand.subscriber())
    await series.pause()
    assert await series.tick(by=DAY) == 0
    await series.resume()
    assert await series.tick(by=DAY) == 0
    assert await series.tick(by=DAY) == 1


async def test_after_a_pause_one_mail_goes_out_and_the_others_keep_their_distance(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY), mail("b", DAY), mail("c", DAY))
    await series.enroll(await brand.subscriber())
    await series.pause()
    await series.tick(by=10 * DAY)
    await series.resume()
    assert await series.tick() == 1
    assert (await series.run())["next_run_at"] == series.now + DAY
    assert await series.tick(by=DAY) == 1
    assert await series.subjects() == ["a", "b"]


async def test_a_drip_that_skips_leaves_out_what_fell_into_the_pause_and_keeps_the_dates(
    brand: Tenant,
) -> None:
    series = await Series.create(brand, *(mail(name, DAY) for name in "abcde"), catch_up="skip")
    await series.enroll(await brand.subscriber())
    await series.pause()
    await series.tick(by=3 * DAY + HOUR)
    await series.resume()
    assert await series.tick() == 0
    assert (await series.run())["next_run_at"] == NOON + 4 * DAY
    await series.tick(by=DAY)
    assert await series.subjects() == ["d"]
    assert [kind for kind, _ in await series.history()] == ["skipped"] * 3
    assert await series.tallies(0) == {"skipped": 1}


async def test_what_skips_still_changes_topics_that_were_due_in_the_pause(brand: Tenant) -> None:
    topic = await brand.topic("readers")
    series = await Series.create(
        brand, mail("a", DAY), Step(kind="add_topic", topic=topic), mail("b", 5 * DAY), catch_up="skip"
    )
    await series.enroll(await brand.subscriber())
    await series.pause()
    await series.tick(by=2 * DAY)
    await series.resume()
    await series.tick()
    assert (await brand.row())["topic_ids"] == [topic]


async def test_a_scheduler_that_was_away_gives_everybody_one_step(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY), mail("b", DAY))
    for number in range(5):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    assert await series.tick(by=30 * DAY, batch=2) == 5
    assert await series.subjects() == ["a"] * 5


async def test_an_hourly_allowance_spreads_what_is_due(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), max_per_hour=120)
    for number in range(10):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    # 120 an hour are two a minute, and a minute's worth may go at once.
    assert [await series.tick(by=by) for by in (timedelta(), HOUR / 120, HOUR / 120, 3 * HOUR / 120)] == [
        2,
        1,
        1,
        2,
    ]


async def test_an_allowance_below_one_a_minute_is_kept_too(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), max_per_hour=4)
    for number in range(3):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    quarter = HOUR / 4
    assert [await series.tick(by=by) for by in (timedelta(), quarter / 2, quarter / 2, quarter)] == [
        1,
        0,
        1,
        1,
    ]


# Entering again.


async def _finished(series: Series, brand: Tenant) -> None:
    await series.enroll(await brand.subscriber())
    await series.tick()
    assert (await series.run())["state"] == "completed"


async def test_by_default_nobody_goes_through_a_drip_twice(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"))
    await _finished(series, brand)
    assert (await series.enroll((await brand.row())["id"])).already_enrolled
    assert len(await series.runs()) == 1


async def test_a_drip_may_be_entered_again_after_its_end_with_the_next_run_number(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), re_enroll="after_end")
    await _finished(series, brand)
    assert not (await series.enroll((await brand.row())["id"])).already_enrolled
    assert [run["run_no"] for run in await series.runs()] == [1, 2]
    await series.tick()
    assert await series.subjects() == ["a", "a"]


async def test_a_drip_that_may_be_entered_after_its_end_is_not_entered_while_it_lasts(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY), re_enroll="after_end")
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    assert (await series.enroll(subscriber)).already_enrolled


async def test_a_drip_that_may_always_be_entered_begins_anew(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", DAY), re_enroll="always")
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await series.tick()
    assert not (await series.enroll(subscriber)).already_enrolled
    first, second = await series.runs()
    assert (first["state"], first["exit_reason"], first["next_run_at"]) == ("cancelled", "restarted", None)
    assert (second["run_no"], second["state"]) == (2, "active")
    await series.tick()
    await series.tick(by=DAY)
    assert await series.subjects() == ["a", "a", "b"]
    assert await series.tallies() == {"enrolled": 2, "cancelled": 1, "completed": 1}


@pytest.mark.parametrize("state", ["draft", "archived"])
async def test_a_drip_that_does_not_run_takes_nobody(brand: Tenant, state: str) -> None:
    series = await Series.create(brand, mail("a"), state=state)
    subscriber = await brand.subscriber()
    with pytest.raises(CannotEnroll, match=f"drip_{state}"):
        await enroll(
            brand.pool, Enroll(brand_id=brand.id, drip_id=series.id, who=ById(subscriber_id=subscriber))
        )


# Leaving.


async def test_giving_up_a_topic_ends_the_drips_that_hang_on_it_and_cancels_their_mail(brand: Tenant) -> None:
    topic = await brand.topic("course")
    series = await Series.create(brand, mail("a"), mail("b", DAY), exit_topic_ids=[topic])
    other = await Series.create(brand, mail("z", DAY), name="other")
    subscriber = await brand.subscriber(topic_ids=(topic,))
    await series.enroll(subscriber)
    await other.enroll(subscriber)
    await series.tick()
    await tell_the_scheduler(brand)
    await change_tags(
        brand.pool, ChangeTags(brand_id=brand.id, who=ById(subscriber_id=subscriber), remove=("course",))
    )
    assert (await tell_the_scheduler(brand)).ended == 1
    run = await series.run()
    assert (run["state"], run["exit_reason"]) == ("exited", "topic_removed")
    assert (await other.run())["state"] == "active"
    mails = await brand.pool.fetch("SELECT state, error FROM messages WHERE drip_id = $1", series.id)
    assert [(row["state"], row["error"]) for row in mails] == [("cancelled", "drip_topic_removed")]


async def test_a_signup_that_replaces_topics_gives_up_those_that_it_lacks(brand: Tenant) -> None:
    kept, lost = await brand.topic("kept"), await brand.topic("lost")
    series = await Series.create(brand, mail("a", DAY), exit_topic_ids=[lost])
    await series.enroll(await brand.subscriber(topic_ids=(kept, lost)))
    await tell_the_scheduler(brand)
    await subscribe(
        brand.pool, Subscribe(brand_id=brand.id, address=parse_address(READER), topic_ids=(kept,))
    )
    assert (await tell_the_scheduler(brand)).ended == 1


async def test_who_never_had_the_topic_does_not_leave_by_another_change(brand: Tenant) -> None:
    topic, other = await brand.topic("course"), await brand.topic("other")
    series = await Series.create(brand, mail("a", DAY), exit_topic_ids=[topic])
    subscriber = await brand.subscriber(topic_ids=(other,))
    await series.enroll(subscriber)
    await change_tags(
        brand.pool, ChangeTags(brand_id=brand.id, who=ById(subscriber_id=subscriber), remove=("other",))
    )
    assert (await tell_the_scheduler(brand)).ended == 0


async def test_reaching_the_goal_ends_the_drip(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY), goal_events=["purchased"])
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    for name in ("looked", "purchased"):
        await report_event(
            brand.pool, ReportEvent(brand_id=brand.id, who=ById(subscriber_id=subscriber), name=name)
        )
    assert (await tell_the_scheduler(brand)).ended == 1
    run = await series.run()
    assert (run["state"], run["exit_reason"]) == ("exited", "goal")
    assert await series.tick(by=2 * DAY) == 0


async def test_who_unsubscribes_is_out_at_once_and_counted(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY))
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await unsubscribe(brand.pool, brand.id, ById(subscriber_id=subscriber))
    assert (await series.run())["ended_at"] is not None
    assert await series.tallies() == {"enrolled": 1, "exited": 1}


# Triggers.


async def test_a_reported_event_starts_the_drips_that_wait_for_it(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), trigger="event", trigger_event="purchased")
    subscriber = await brand.subscriber()
    reported = await report_event(
        brand.pool,
        ReportEvent(
            brand_id=brand.id,
            who=ByEmail(address=parse_address(READER)),
            name="purchased",
            properties={"total": 12},
        ),
    )
    assert reported.subscriber_id == subscriber
    assert (await tell_the_scheduler(brand)).enrolled == 1
    assert (await series.run())["cause"] == reported.event_id


async def test_a_copy_of_an_event_starts_no_second_run(brand: Tenant) -> None:
    await Series.create(brand, mail("a"), trigger="event", trigger_event="purchased", re_enroll="always")
    subscriber = await brand.subscriber()
    await report_event(
        brand.pool, ReportEvent(brand_id=brand.id, who=ById(subscriber_id=subscriber), name="purchased")
    )
    assert [await brand.start_drips() for _ in range(2)] == [1, 0]


async def test_a_second_event_starts_a_second_run_where_the_policy_allows_it(brand: Tenant) -> None:
    series = await Series.create(
        brand, mail("a"), trigger="event", trigger_event="purchased", re_enroll="after_end"
    )
    subscriber = await brand.subscriber()
    for _ in range(2):
        await report_event(
            brand.pool, ReportEvent(brand_id=brand.id, who=ById(subscriber_id=subscriber), name="purchased")
        )
        assert (await tell_the_scheduler(brand)).enrolled == 1
        # By the clock that events are dated by: what happens during a run starts none.
        series.now = await brand.pool.fetchval("SELECT now()")
        await series.tick()
    assert [run["run_no"] for run in await series.runs()] == [1, 2]


async def test_an_event_of_a_pending_subscriber_waits_for_the_confirmation(double_brand: Tenant) -> None:
    series = await Series.create(double_brand, mail("a"), trigger="event", trigger_event="purchased")
    subscriber = await double_brand.subscriber(status=SubscriberStatus.PENDING)
    await report_event(
        double_brand.pool,
        ReportEvent(brand_id=double_brand.id, who=ById(subscriber_id=subscriber), name="purchased"),
    )
    await tell_the_scheduler(double_brand)
    assert (await series.run())["next_run_at"] is None
    await double_brand.subscriber(status=SubscriberStatus.CONFIRMED)
    await tell_the_scheduler(double_brand)
    assert (await series.run())["next_run_at"] is not None


async def test_an_event_of_nobody_is_refused_and_tells_nothing(brand: Tenant) -> None:
    with pytest.raises(SubscriberNotFound):
        await report_event(
            brand.pool,
            ReportEvent(brand_id=brand.id, who=ByEmail(address=parse_address(READER)), name="purchased"),
        )
    assert await brand.events() == []
