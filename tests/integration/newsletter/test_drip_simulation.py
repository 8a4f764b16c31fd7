"""What a simulation foretells is what the scheduler does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailement_common.ids import SubscriberId
from mailement_newsletter.commands import ById, Enroll
from mailement_newsletter.errors import DripNotFound, SubscriberNotFound
from mailement_newsletter.ids import DripId
from mailement_newsletter.rules.drip_conditions import OWN_FIELDS
from mailement_newsletter.rules.drip_definition import DripDefinition, DripTrigger, read_definition
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.advance_drips import advance_drips
from mailement_newsletter.usecases.archive_drip import archive_drip
from mailement_newsletter.usecases.create_drip import create_drip
from mailement_newsletter.usecases.enroll import enroll
from mailement_newsletter.usecases.pause_drip import pause_drip
from mailement_newsletter.usecases.resume_drip import resume_drip
from mailement_newsletter.usecases.simulate_drip import Simulation, Somebody, Whom, simulate_drip
from tests.support.brands import MakeTenant, Tenant
from tests.support.drip_definitions import FIELDS, TOPICS, definitions
from tests.support.drips import tell_the_scheduler

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
# What somebody sends, or would be sent: the step and when.
Way = list[tuple[str, datetime]]


def _mail(label: str, delay: str = "0", **given: Any) -> dict[str, Any]:
    return {"label": label, "delay": delay, "subject": label, "text": "Hello.", **given}


async def _create(brand: Tenant, *steps: dict[str, Any], **given: Any) -> DripId:
    described = {"name": "Course", **given, "steps": list(steps)}
    return (await create_drip(brand.pool, brand.id, read_definition(described))).id


async def _simulate(brand: Tenant, drip: DripId, whom: Whom, since: datetime) -> Simulation:
    return await simulate_drip(brand.pool, brand.id, drip, whom, since=since)


async def _put_in(brand: Tenant, drip: DripId, subscriber: SubscriberId, at: datetime) -> None:
    """Enrols; as if it had been done at that moment."""
    await enroll(brand.pool, Enroll(brand_id=brand.id, drip_id=drip, who=ById(subscriber_id=subscriber)))
    await brand.pool.execute(
        """
        UPDATE drip_enrollments AS e SET
            anchor_at = $3,
            enrolled_at = $3,
            next_run_at = (
                SELECT drip_due_at($3, t.delay, t.kind, t.params, d.zone, d.brand_id, s.custom_fields,
                                   d.window_start, d.window_end, d.window_days)
                FROM drip_steps AS t, drips AS d, subscribers AS s
                WHERE t.drip_id = $1 AND d.id = $1 AND s.id = $2 ORDER BY t.position LIMIT 1
            )
        WHERE e.drip_id = $1 AND e.subscriber_id = $2 AND e.next_run_at IS NOT NULL
        """,
        drip,
        subscriber,
        at,
    )


async def _run(brand: Tenant, drip: DripId) -> asyncpg.Record:
    row = await brand.pool.fetchrow("SELECT * FROM drip_enrollments WHERE drip_id = $1", drip)
    assert row is not None
    return row


async def _walk(brand: Tenant, drip: DripId, *, since: datetime | None = None) -> asyncpg.Record:
    """The scheduler's way through the drip: its clock goes from one due moment to the next."""
    while True:
        run = await _run(brand, drip)
        if run["state"] != "active" or run["next_run_at"] is None:
            return run
        now = max(run["next_run_at"], since or run["next_run_at"])
        assert (await advance_drips(brand.pool, now=now, behind=0, batch=1000)).due


async def _sent(brand: Tenant, drip: DripId) -> Way:
    rows = await brand.pool.fetch(
        """
        SELECT t.label, m.created_at FROM messages AS m INNER JOIN drip_steps AS t ON m.drip_step_id = t.id
        WHERE m.drip_id = $1 ORDER BY m.id
        """,
        drip,
    )
    return [(row["label"], row["created_at"]) for row in rows]


def _foretold(simulation: Simulation) -> Way:
    return [
        (step.label or "", step.at) for step in simulation.steps if step.kind == "send" and not step.skipped
    ]


async def _deeds(brand: Tenant, drip: DripId) -> list[tuple[int, str, datetime, bool | None]]:
    """What else happened."""
    rows = await brand.pool.fetch(
        """
        SELECT v.step_id, v.kind, v.at, v.detail FROM drip_run_events AS v
        INNER JOIN drip_steps AS t ON v.step_id = t.id
        WHERE v.drip_id = $1 ORDER BY t.position
        """,
        drip,
    )
    return [(row["step_id"], row["kind"], row["at"], row["detail"].get("holds")) for row in rows]


def _foretold_deeds(simulation: Simulation) -> list[tuple[int, str, datetime, bool | None]]:
    silent = {"send", "delay", "wait_until"}
    return [
        (step.step_id, step.kind.value, step.at, step.holds)
        for step in simulation.steps
        if step.kind not in silent
    ]


def _ended(run: asyncpg.Record) -> tuple[str, str | None]:
    return ("waiting" if run["state"] == "active" else run["state"]), run["exit_reason"]


_NUMBERS = count(1)


async def _equip(brand: Tenant) -> None:
    for slug in TOPICS:
        await brand.topic(slug)
    for key in (*FIELDS, "timezone"):
        await brand.field(key)


@pytest.fixture
async def equipped(brand: Tenant) -> Tenant:
    await _equip(brand)
    return brand


_PEOPLE = st.builds(
    Somebody,
    own_fields=st.fixed_dictionaries({}, optional={"first_name": st.just("Maria")}),
    topics=st.lists(st.sampled_from(TOPICS), unique=True).map(tuple),
    custom_fields=st.fixed_dictionaries(
        {},
        optional={
            "age": st.integers(0, 60),
            "plan": st.sampled_from(["free", "paid"]),
            "timezone": st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Mars/Base"]),
        },
    ),
)
# Around the days on which clocks change in Europe and in America.
_MOMENTS = st.builds(
    lambda day, minutes: day + timedelta(minutes=minutes),
    st.sampled_from([datetime(2026, 10, 20, tzinfo=UTC), datetime(2027, 3, 10, tzinfo=UTC)]),
    st.integers(0, 20 * 24 * 60),
)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
@given(definition=definitions(trigger=DripTrigger.MANUAL), person=_PEOPLE, since=_MOMENTS)
async def test_every_drip_sends_what_was_foretold(
    equipped: Tenant, definition: DripDefinition, person: Somebody, since: datetime
) -> None:
    brand, number = equipped, next(_NUMBERS)
    drip = (await create_drip(brand.pool, brand.id, replace(definition, name=f"drip {number}"))).id
    subscriber = await brand.subscriber(
        f"reader{number}@example.com",
        first_name=person.own_fields.get("first_name"),
        custom_fields=person.custom_fields,
        tags=person.topics,
    )
    stranger = await _simulate(brand, drip, person, since)
    await _put_in(brand, drip, subscriber, since)
    foretold = await _simulate(brand, drip, ById(subscriber_id=subscriber), since)
    run = await _walk(brand, drip)
    assert _foretold(foretold) == await _sent(brand, drip)
    assert _foretold_deeds(foretold) == await _deeds(brand, drip)
    assert (foretold.end, foretold.end_reason) == _ended(run)
    assert (_foretold(stranger), stranger.end, stranger.timezone) == (
        _foretold(foretold),
        foretold.end,
        foretold.timezone,
    )
    # Out of the way of the next one.
    await archive_drip(brand.pool, brand.id, drip)


async def test_local_times_follow_the_clock_change(equipped: Tenant) -> None:
    drip = await _create(
        equipped,
        *(_mail(f"day{number}", "1 day") for number in range(3)),
        zone="subscriber",
        window={"from": "09:00", "to": "09:30"},
    )
    # Central Europe leaves summer time on Sunday, 2026-10-25.
    since = datetime(2026, 10, 23, 7, 5, tzinfo=UTC)
    somebody = Somebody(custom_fields={"timezone": "Europe/Berlin"})
    simulation = await _simulate(equipped, drip, somebody, since)
    assert simulation.timezone == "Europe/Berlin"
    assert [step.local.isoformat(" ", "minutes") for step in simulation.steps] == [
        "2026-10-24 09:05",
        "2026-10-25 09:00",
        "2026-10-26 09:00",
    ]
    assert [step.at.hour for step in simulation.steps] == [7, 8, 8]


@pytest.mark.parametrize("key", sorted(OWN_FIELDS))
async def test_a_condition_reads_the_own_fields_of_somebody(equipped: Tenant, key: str) -> None:
    ask = {"field": key, "is": "x@example.com"}
    drip = await _create(equipped, {"condition": {"if": ask, "otherwise": "exit"}}, _mail("a"))
    since = datetime(2030, 1, 1, tzinfo=UTC)
    said = await _simulate(equipped, drip, Somebody.of({key: "X@example.com"}), since)
    unsaid = await _simulate(equipped, drip, Somebody(), since)
    assert [step.holds for step in (said.steps[0], unsaid.steps[0])] == [True, False]


async def test_a_mail_that_waits_for_its_window_says_when_its_delay_was_over(equipped: Tenant) -> None:
    drip = await _create(equipped, _mail("a", "1 hour"), window={"days": ["mon"]})
    since = datetime(2026, 5, 20, 12, tzinfo=UTC)
    (step,) = (await _simulate(equipped, drip, Somebody(), since)).steps
    assert (step.plain_at, step.at) == (since + HOUR, datetime(2026, 5, 25, tzinfo=UTC))


async def test_what_a_step_changes_counts_in_the_steps_behind_it(equipped: Tenant) -> None:
    drip = await _create(
        equipped,
        {"add_topic": "vip"},
        {"condition": {"if": {"topic": "vip"}, "then": "offer", "otherwise": "exit"}},
        _mail("never"),
        _mail("offer"),
    )
    simulation = await _simulate(equipped, drip, Somebody(), datetime(2026, 5, 20, tzinfo=UTC))
    assert [step.label for step in simulation.steps if step.kind == "send"] == ["offer"]
    assert [step.holds for step in simulation.steps] == [None, True, None]


async def test_giving_up_a_topic_that_the_drip_hangs_on_ends_it(equipped: Tenant) -> None:
    drip = await _create(
        equipped, _mail("a"), {"remove_topic": "trial"}, _mail("b", "1 day"), exit_on={"topics": ["trial"]}
    )
    subscriber = await equipped.subscriber(tags=("trial",))
    since = datetime(2030, 5, 20, tzinfo=UTC)
    await _put_in(equipped, drip, subscriber, since)
    simulation = await _simulate(equipped, drip, ById(subscriber_id=subscriber), since)
    await tell_the_scheduler(equipped)
    for _ in range(2):
        await advance_drips(equipped.pool, now=since, behind=0, batch=10)
    await tell_the_scheduler(equipped)
    run = await _walk(equipped, drip)
    assert (simulation.end, simulation.end_reason) == _ended(run) == ("exited", "topic_removed")
    assert _foretold(simulation) == await _sent(equipped, drip)


async def test_whoever_is_on_the_way_is_simulated_from_there(equipped: Tenant) -> None:
    drip = await _create(equipped, _mail("a"), _mail("b", "2 days"), _mail("c", "1 day"))
    subscriber = await equipped.subscriber()
    since = datetime(2030, 5, 20, tzinfo=UTC)
    await _put_in(equipped, drip, subscriber, since)
    await advance_drips(equipped.pool, now=since, behind=0, batch=10)
    simulation = await _simulate(equipped, drip, ById(subscriber_id=subscriber), since + DAY)
    assert _foretold(simulation) == [("b", since + 2 * DAY), ("c", since + 3 * DAY)]
    assert [step.number for step in simulation.steps] == [2, 3]


@pytest.mark.parametrize("catch_up", ["shift", "skip"])
async def test_a_paused_drip_is_simulated_as_if_it_were_resumed(equipped: Tenant, catch_up: str) -> None:
    drip = await _create(equipped, _mail("a"), _mail("b", "1 hour"), _mail("c", "1 day"), catch_up=catch_up)
    subscriber = await equipped.subscriber()
    now: datetime = await equipped.pool.fetchval("SELECT now()")
    await _put_in(equipped, drip, subscriber, now - 5 * HOUR)
    await pause_drip(equipped.pool, equipped.id, drip)
    await resume_drip(equipped.pool, equipped.id, drip)
    resumed = await equipped.pool.fetchval(
        "SELECT coalesce(skip_due_before, now()) FROM drips WHERE id = $1", drip
    )
    await pause_drip(equipped.pool, equipped.id, drip)
    simulation = await _simulate(equipped, drip, ById(subscriber_id=subscriber), resumed)
    await equipped.pool.execute("UPDATE drips SET state = 'live'")
    await _walk(equipped, drip, since=resumed)
    assert _foretold(simulation) == await _sent(equipped, drip)
    assert [step.skipped for step in simulation.steps] == [catch_up == "skip"] * 2 + [False]
    assert any("paused" in note for note in simulation.notes)


async def test_a_mail_that_is_late_waits_for_the_window(equipped: Tenant) -> None:
    window = {"from": "09:00", "to": "17:00"}
    drip = await _create(equipped, _mail("a"), _mail("b", "1 hour"), window=window)
    subscriber = await equipped.subscriber()
    await _put_in(equipped, drip, subscriber, datetime(2031, 5, 1, 10, tzinfo=UTC))
    await pause_drip(equipped.pool, equipped.id, drip)
    resumed = datetime(2031, 5, 3, 20, tzinfo=UTC)
    simulation = await _simulate(equipped, drip, ById(subscriber_id=subscriber), resumed)
    await resume_drip(equipped.pool, equipped.id, drip)
    await _walk(equipped, drip, since=resumed)
    assert _foretold(simulation) == await _sent(equipped, drip)
    assert [at.hour for _, at in _foretold(simulation)] == [9, 10]


async def test_a_date_trigger_begins_on_its_day(equipped: Tenant) -> None:
    await equipped.field("born")
    drip = await _create(equipped, _mail("a", "1 hour"), trigger="date", field="born", days=-2, yearly=True)
    subscriber = await equipped.subscriber(custom_fields={"born": "1990-06-10"})
    simulation = await _simulate(
        equipped, drip, ById(subscriber_id=subscriber), datetime(2031, 1, 1, tzinfo=UTC)
    )
    assert _foretold(simulation) == [("a", datetime(2031, 6, 8, 10, tzinfo=UTC))]
    undated = await equipped.subscriber("undated@example.com")
    simulation = await _simulate(
        equipped, drip, ById(subscriber_id=undated), datetime(2031, 1, 1, tzinfo=UTC)
    )
    assert any("no date to come" in note for note in simulation.notes)


async def test_whoever_has_left_gets_nothing(equipped: Tenant) -> None:
    drip = await _create(equipped, _mail("a"))
    subscriber = await equipped.subscriber(status=SubscriberStatus.BOUNCED)
    simulation = await _simulate(
        equipped, drip, ById(subscriber_id=subscriber), datetime(2030, 1, 1, tzinfo=UTC)
    )
    assert (simulation.steps, simulation.end_reason) == ([], "bounced")


async def test_what_else_is_to_be_known_is_said(equipped: Tenant) -> None:
    drip = await _create(
        equipped,
        _mail("a"),
        {"condition": {"if": {"not": {"opened": "a"}}}},
        max_per_hour=60,
        state="draft",
    )
    notes = (await _simulate(equipped, drip, Somebody(), datetime(2030, 1, 1, tzinfo=UTC))).notes
    assert [
        word
        for word in ("draft", "60 mails an hour", "not opened")
        if not any(word in note for note in notes)
    ] == []


async def test_a_simulation_writes_nothing(equipped: Tenant) -> None:
    drip = await _create(equipped, _mail("a"), {"add_topic": "vip"}, _mail("b"))
    subscriber = await equipped.subscriber()
    before = [await equipped.row(), await equipped.events()]
    await _simulate(equipped, drip, ById(subscriber_id=subscriber), datetime(2030, 1, 1, tzinfo=UTC))
    assert [await equipped.row(), await equipped.events()] == before
    assert await equipped.enrollments() == []


async def test_others_brands_are_not_seen(equipped: Tenant, make_brand: MakeTenant) -> None:
    stranger = await make_brand()
    drip = await _create(equipped, _mail("a"))
    unknown = await stranger.subscriber()
    now = datetime(2030, 1, 1, tzinfo=UTC)
    with pytest.raises(DripNotFound):
        await _simulate(stranger, drip, ById(subscriber_id=unknown), now)
    with pytest.raises(SubscriberNotFound):
        await _simulate(equipped, drip, ById(subscriber_id=unknown), now)
