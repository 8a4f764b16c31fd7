"""What each kind of step does, and where a run goes on behind it."""

from __future__ import annotations

from typing import Any

import pytest

from mailement_common.events.types import EventType
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.advance_drips import MAX_TRIES, advance_apart, advance_drips
from tests.support.brands import Tenant
from tests.support.drips import DAY, HOUR, NOON, Series, Step, mail


def when(condition: dict[str, Any], *, then: int | None = None, otherwise: int | str | None = None) -> Step:
    return Step(kind="condition", params={"if": condition, "then": then, "otherwise": otherwise})


async def _branches(brand: Tenant, condition: dict[str, Any], **given: Any) -> bool:
    """Whether the condition holds for a subscriber of these properties."""
    series = await Series.create(brand, when(condition, otherwise="exit"), mail("held"), name=str(condition))
    await series.enroll(await brand.subscriber(**given))
    return await series.tick() == 1


async def test_a_delay_of_its_own_only_waits(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), Step(kind="delay", delay=2 * DAY), mail("b"))
    await series.enroll(await brand.subscriber())
    await series.tick()
    assert await series.tick(by=2 * DAY - HOUR) == 0
    assert await series.tick(by=HOUR) == 1


async def test_an_exit_ends_the_run_with_its_reason(brand: Tenant) -> None:
    series = await Series.create(brand, Step(kind="exit", params={"reason": "had enough"}), mail("never"))
    await series.enroll(await brand.subscriber())
    assert await series.tick() == 0
    run = await series.run()
    assert (run["state"], run["exit_reason"], run["ended_at"]) == ("exited", "had enough", NOON)


async def test_a_condition_that_holds_goes_on_and_one_that_does_not_exits(brand: Tenant) -> None:
    topic = await brand.topic("vip")
    series = await Series.create(brand, when({"topic_id": topic}, otherwise="exit"), mail("for you"))
    await series.enroll(await brand.subscriber("in@example.com", topic_ids=(topic,)))
    await series.enroll(await brand.subscriber("out@example.com"))
    assert await series.tick() == 1
    assert [(run["state"], run["exit_reason"]) for run in await series.runs()] == [
        ("completed", None),
        ("exited", "condition"),
    ]
    assert [detail for _, detail in await series.history()] == [{"holds": True}, {"holds": False}]


async def test_branches_lead_forward_and_meet_again(brand: Tenant) -> None:
    topic = await brand.topic("vip")
    series = await Series.create(
        brand, when({"topic_id": topic}), mail("vip"), when({"always": True}), mail("plain"), mail("both")
    )
    await series.set_step(
        0, params={"if": {"topic_id": topic}, "then": None, "otherwise": series.step_ids[3]}
    )
    await series.set_step(2, params={"if": {"always": True}, "then": series.step_ids[4], "otherwise": None})
    vip = await brand.subscriber("in@example.com", topic_ids=(topic,))
    plain = await brand.subscriber("out@example.com")
    await series.enroll(vip)
    await series.enroll(plain)
    await series.tick()
    assert await series.subjects(vip) == ["vip", "both"]
    assert await series.subjects(plain) == ["plain", "both"]


async def test_a_branch_to_a_deleted_step_leads_to_the_next_living_one(brand: Tenant) -> None:
    series = await Series.create(brand, when({"always": True}), mail("a"), mail("gone"), mail("b"))
    await series.set_step(0, params={"if": {"always": True}, "then": series.step_ids[2], "otherwise": None})
    await series.set_step(2, deleted_at=NOON)
    await series.enroll(await brand.subscriber())
    await series.tick()
    assert await series.subjects() == ["b"]


async def test_a_branch_never_leads_back(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), when({"always": True}), mail("b"))
    await series.set_step(1, params={"if": {"always": True}, "then": series.step_ids[0], "otherwise": None})
    await series.enroll(await brand.subscriber())
    await series.tick()
    assert await series.subjects() == ["a", "b"]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"field": "plan", "is": "PRO"}, True),
        ({"field": "plan", "is": "free"}, False),
        ({"field": "plan", "is_not": "free"}, True),
        ({"field": "absent", "is_not": "free"}, True),
        ({"field": "absent", "is": "free"}, False),
        ({"field": "plan", "in": ["free", "pro"]}, True),
        ({"field": "plan", "contains": "r"}, True),
        ({"field": "plan", "exists": True}, True),
        ({"field": "absent", "exists": True}, False),
        ({"field": "absent", "exists": False}, True),
        ({"field": "age", "above": 17}, True),
        ({"field": "age", "below": 17.5}, False),
        ({"field": "plan", "above": 1}, False),
        ({"field": "city", "is": "lisbon"}, True),
        ({"all": [{"field": "plan", "is": "pro"}, {"field": "age", "above": 50}]}, False),
        ({"any": [{"field": "plan", "is": "pro"}, {"field": "age", "above": 50}]}, True),
        ({"not": {"field": "plan", "is": "pro"}}, False),
        ({"all": []}, True),
        ({"any": []}, False),
    ],
    ids=str,
)
async def test_a_condition_asks_fields(brand: Tenant, condition: dict[str, Any], holds: bool) -> None:
    for key in ("plan", "age"):
        await brand.field(key)
    found = await _branches(brand, condition, custom_fields={"plan": "pro", "age": 18}, city="Lisbon")
    assert found is holds


@pytest.mark.parametrize("wide", [{"a": [1, 2]}, [1], "x" * 900, "1e999", "-", "", None, True])
async def test_a_condition_bears_whatever_a_field_holds(brand: Tenant, wide: Any) -> None:
    await brand.field("plan")
    subscriber = await brand.subscriber()
    await brand.pool.execute(
        "UPDATE subscribers SET custom_fields = $2 WHERE id = $1", subscriber, {"plan": wide}
    )
    condition = {
        "any": [{"field": "plan", "above": 3}, {"field": "plan", "is": "no"}, {"field": "plan", "below": -3}]
    }
    series = await Series.create(brand, when(condition, otherwise="exit"))
    await series.enroll(subscriber)
    await series.tick()
    assert (await series.run())["exit_reason"] == "condition"


@pytest.mark.parametrize(
    ("asked", "column", "holds"),
    [
        ("opened", "opened_at", True),
        ("opened", "clicked_at", True),
        ("opened", "machine_opened_at", False),
        ("clicked", "clicked_at", True),
        ("clicked", "opened_at", False),
        ("opened", None, False),
    ],
)
async def test_a_condition_asks_what_a_person_did_with_an_earlier_mail(
    brand: Tenant, asked: str, column: str | None, holds: bool
) -> None:
    series = await Series.create(brand, mail("a"), when({}, otherwise="exit"), mail("b"))
    await series.set_step(1, params={"if": {asked: series.step_ids[0]}, "otherwise": "exit"}, delay=DAY)
    await series.enroll(await brand.subscriber())
    await series.tick()
    if column is not None:
        await brand.pool.execute(f"UPDATE messages SET {column} = $1", NOON + HOUR)
    assert await series.tick(by=DAY) == int(holds)


async def test_a_topic_step_changes_the_topics_and_tells_it_once(brand: Tenant) -> None:
    kept, added, removed = [await brand.topic(slug) for slug in ("kept", "added", "removed")]
    series = await Series.create(
        brand, Step(kind="add_topic", topic=added), Step(kind="remove_topic", topic=removed), mail("a")
    )
    subscriber = await brand.subscriber(topic_ids=(kept, removed))
    await series.enroll(subscriber)
    before = (await brand.row())["version"]
    await series.tick()
    row = await brand.row()
    assert (row["topic_ids"], row["version"]) == ([kept, added], before + 2)
    told = [event["data"] for event in await brand.events() if event["type"] == EventType.SUBSCRIBER_UPDATED]
    assert [event["removed_topic_ids"] for event in told] == [[], [removed]]
    assert [event["subscriber"]["version"] for event in told] == [before + 1, before + 2]


async def test_a_topic_that_is_there_already_is_neither_written_nor_told(brand: Tenant) -> None:
    topic = await brand.topic("kept")
    series = await Series.create(brand, Step(kind="add_topic", topic=topic), mail("a"))
    await series.enroll(await brand.subscriber(topic_ids=(topic,)))
    before = (await brand.row())["written_by"]
    assert await series.tick() == 1
    assert (await brand.row())["written_by"] == before
    assert EventType.SUBSCRIBER_UPDATED not in await brand.event_types()


async def test_two_drips_may_change_the_topics_of_one_subscriber_in_one_batch(brand: Tenant) -> None:
    topics = [await brand.topic(slug) for slug in ("one", "two", "three")]
    subscriber = await brand.subscriber()
    series = [
        await Series.create(brand, Step(kind="add_topic", topic=topic), name=str(topic)) for topic in topics
    ]
    for each in series:
        await each.enroll(subscriber)
    await series[0].tick()
    assert (await brand.row())["topic_ids"] == topics
    assert {(await each.run())["state"] for each in series} == {"completed"}


async def test_a_topic_step_does_not_wait_for_somebody_who_holds_the_subscriber(brand: Tenant) -> None:
    series = await Series.create(brand, Step(kind="add_topic", topic=await brand.topic("one")))
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    async with brand.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM subscribers WHERE id = $1 FOR UPDATE", subscriber)
        await advance_drips(brand.pool, now=NOON, behind=0, batch=10)
        assert (await series.run())["state"] == "active"
    await series.tick()
    assert (await series.run())["state"] == "completed"


async def test_a_webhook_step_tells_an_event_with_the_subscriber_and_the_step(brand: Tenant) -> None:
    series = await Series.create(brand, Step(kind="webhook", params={"name": "trial_over"}))
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await series.tick()
    (event,) = [event for event in await brand.events() if event["type"] == EventType.DRIP_WEBHOOK]
    assert event["data"]["subscriber"]["id"] == subscriber
    assert event["data"]["brand_slug"] == brand.slug
    assert event["data"]["drip"] == {
        "id": series.id,
        "step_id": series.step_ids[0],
        "run_id": (await series.run())["id"],
        "name": "trial_over",
    }


async def test_nothing_of_a_step_is_done_for_who_is_pending_again(brand: Tenant) -> None:
    topic = await brand.topic("one")
    series = await Series.create(brand, Step(kind="add_topic", topic=topic), Step(kind="webhook"))
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await brand.pool.execute("UPDATE subscribers SET status = $1", SubscriberStatus.PENDING)
    await series.tick()
    assert (await brand.row())["topic_ids"] == []
    assert EventType.DRIP_WEBHOOK not in await brand.event_types()
    assert await series.history() == []


async def test_what_ran_is_counted_step_by_step(brand: Tenant) -> None:
    series = await Series.create(
        brand, mail("a"), when({"field": "city", "exists": True}, otherwise="exit"), mail("b")
    )
    await series.enroll(await brand.subscriber("in@example.com", city="Lisbon"))
    await series.enroll(await brand.subscriber("out@example.com"))
    await series.tick()
    assert [await series.tallies(number) for number in range(3)] == [{"ran": 2}, {"ran": 2}, {"ran": 1}]
    assert await series.tallies() == {"enrolled": 2, "completed": 1, "exited": 1}


# A run that the database will not carry out.


async def _refuse_mail_for(brand: Tenant, subscriber: int) -> None:
    await brand.pool.execute(
        f"ALTER TABLE messages ADD CONSTRAINT poison CHECK (subscriber_id <> {subscriber}) NOT VALID"
    )


async def test_a_run_that_cannot_be_carried_out_does_not_hold_up_the_others(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", DAY))
    subscribers = [await brand.subscriber(f"reader{number}@example.com") for number in range(4)]
    for subscriber in subscribers:
        await series.enroll(subscriber)
    await _refuse_mail_for(brand, subscribers[1])
    done = await advance_apart(brand.pool, now=NOON, behind=0, batch=10)
    assert (done.due, done.queued) == (4, 3)
    poisoned = (await series.runs())[1]
    assert (poisoned["state"], poisoned["attempts"], poisoned["cursor_pos"]) == ("active", 1, 0)
    assert "poison" in poisoned["error"]
    assert poisoned["next_run_at"] > NOON


async def test_after_too_many_tries_a_run_is_shown_as_failed_with_its_reason(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"))
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await _refuse_mail_for(brand, subscriber)
    for _ in range(MAX_TRIES):
        await advance_apart(brand.pool, now=series.now, behind=0, batch=10)
        series.now += DAY
    run = await series.run()
    assert (run["state"], run["next_run_at"], run["attempts"]) == ("failed", None, MAX_TRIES)
    assert await series.tallies() == {"enrolled": 1, "failed": 1}
    assert [kind for kind, _ in await series.history()] == ["attempt_failed"] * MAX_TRIES


async def test_a_run_that_succeeds_at_last_forgets_its_failures(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a"), mail("b", DAY))
    subscriber = await brand.subscriber()
    await series.enroll(subscriber)
    await _refuse_mail_for(brand, subscriber)
    await advance_apart(brand.pool, now=series.now, behind=0, batch=10)
    await brand.pool.execute("ALTER TABLE messages DROP CONSTRAINT poison")
    await series.tick(by=HOUR)
    run = await series.run()
    assert (run["attempts"], run["error"], run["cursor_pos"]) == (0, None, 1024)
