"""Drips are made, edited under those who are in them, looked at before that, paused and resumed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from mailement_common.ids import SubscriberId
from mailement_newsletter.commands import ById, Enroll
from mailement_newsletter.errors import (
    DripArchived,
    DripIsADraft,
    DripIsRespaced,
    DripNotFound,
    InvalidDrip,
    VersionConflict,
)
from mailement_newsletter.ids import DripId
from mailement_newsletter.rules.drip_definition import DripState, describe, read_definition
from mailement_newsletter.rules.drip_edits import GAP, moved_cursor, respaced
from mailement_newsletter.usecases.advance_drips import ALL_DRIPS, advance_drips
from mailement_newsletter.usecases.advance_drips import SQL as ADVANCING
from mailement_newsletter.usecases.archive_drip import archive_drip
from mailement_newsletter.usecases.create_drip import create_drip
from mailement_newsletter.usecases.drip_changes import EditDrip
from mailement_newsletter.usecases.edit_drip import edit_drip
from mailement_newsletter.usecases.enroll import enroll
from mailement_newsletter.usecases.enroll_dated import enroll_dated
from mailement_newsletter.usecases.pause_drip import pause_drip
from mailement_newsletter.usecases.preview_edit import EditPreview, preview_edit
from mailement_newsletter.usecases.resume_drip import resume_drip
from mailement_newsletter.usecases.retime_subscribers import retime_subscribers
from mailement_newsletter.usecases.retry_failed_runs import retry_failed_runs
from mailement_newsletter.usecases.show_drip import show_drip
from mailement_newsletter.usecases.work_drip_jobs import work_drip_job
from tests.support.brands import MakeTenant, Tenant

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def _mail(label: str, delay: str = "1 day", **given: Any) -> dict[str, Any]:
    return {"label": label, "delay": delay, "subject": label, "text": "Hello.", **given}


def _drip(*steps: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"name": "Course", **settings, "steps": list(steps)}


ABC = (_mail("a"), _mail("b"), _mail("c"))


async def _create(brand: Tenant, *steps: dict[str, Any], **settings: Any) -> DripId:
    return (await create_drip(brand.pool, brand.id, read_definition(_drip(*steps, **settings)))).id


async def _edit(brand: Tenant, drip: DripId, *steps: dict[str, Any], **settings: Any) -> None:
    described = _drip(*steps, **settings)
    await edit_drip(brand.pool, EditDrip(brand_id=brand.id, drip_id=drip, described=described))


async def _preview(
    brand: Tenant, drip: DripId, *steps: dict[str, Any], most_runs: int = 100, **settings: Any
) -> EditPreview:
    edit = EditDrip(brand_id=brand.id, drip_id=drip, described=_drip(*steps, **settings))
    return await preview_edit(brand.pool, edit, now=await _now(brand), most_runs=most_runs)


async def _now(brand: Tenant) -> datetime:
    now: datetime = await brand.pool.fetchval("SELECT now()")
    return now


async def _rows(brand: Tenant, drip: DripId) -> list[asyncpg.Record]:
    return await brand.pool.fetch("SELECT * FROM drip_steps WHERE drip_id = $1 ORDER BY position", drip)


async def _live(brand: Tenant, drip: DripId) -> dict[str, asyncpg.Record]:
    return {row["label"]: row for row in await _rows(brand, drip) if row["deleted_at"] is None}


async def _jobs(brand: Tenant) -> list[str]:
    return [row["kind"] for row in await brand.pool.fetch("SELECT kind FROM drip_jobs ORDER BY id")]


async def _put_in(
    brand: Tenant, drip: DripId, email: str = "reader@example.com", **columns: Any
) -> SubscriberId:
    """Somebody in the drip, standing where the columns say."""
    subscriber = await brand.subscriber(email)
    await enroll(brand.pool, Enroll(brand_id=brand.id, drip_id=drip, who=ById(subscriber_id=subscriber)))
    for column, value in columns.items():
        await brand.pool.execute(
            f"UPDATE drip_enrollments SET {column} = $3 WHERE drip_id = $1 AND subscriber_id = $2",
            drip,
            subscriber,
            value,
        )
    return subscriber


async def _run(brand: Tenant, subscriber: SubscriberId) -> asyncpg.Record:
    (run,) = [run for run in await brand.enrollments() if run["subscriber_id"] == subscriber]
    return run


async def _retime(brand: Tenant) -> None:
    now = await _now(brand)
    while await work_drip_job(brand.pool, now=now, size=100):
        pass


async def test_a_drip_is_stored_as_it_was_written(brand: Tenant) -> None:
    await brand.topic("news")
    await brand.topic("vip")
    await brand.field("age")
    await brand.field("born")
    written = _drip(
        _mail("hello", html="<p>Hello</p>"),
        {"delay": "3 days"},
        {"wait_until": {"weekdays": ["mon", "wed"], "time": "09:30"}},
        {"wait_until": {"date": "2031-05-01"}},
        {
            "condition": {
                "if": {
                    "any": [{"clicked": "hello"}, {"all": [{"topic": "news"}, {"field": "age", "above": 17}]}]
                },
                "then": "offer",
                "otherwise": "exit",
            }
        },
        {"add_topic": "vip"},
        _mail("offer", "2 hours"),
        {"remove_topic": "news"},
        {"webhook": "crm"},
        {"exit": "done"},
        trigger="date",
        field="born",
        days=-7,
        yearly=True,
        time="08:00",
        re_enroll="always",
        catch_up="skip",
        window={"from": "22:00", "to": "06:00", "days": ["mon", "fri"]},
        exit_on={"topics": ["news"]},
        goals=["order.paid"],
        evergreen=True,
        max_per_hour=60,
        state="draft",
    )
    drip = (await create_drip(brand.pool, brand.id, read_definition(written))).id
    shown = describe((await show_drip(brand.pool, brand.id, drip)).definition)
    for step in shown["steps"]:
        assert step.pop("id") > 0
    assert shown.pop("version") == 1
    assert shown == written


async def test_new_steps_have_room_between_them(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    assert [row["position"] for row in await _rows(brand, drip)] == [GAP, 2 * GAP, 3 * GAP]


async def test_what_the_brand_does_not_have_is_refused_with_its_place(brand: Tenant) -> None:
    described = _drip(
        {"add_topic": "nowhere"},
        {"condition": {"if": {"field": "shoe", "exists": True}}},
        trigger="topic_added",
        topic="news",
    )
    with pytest.raises(InvalidDrip) as refusal:
        await create_drip(brand.pool, brand.id, read_definition(described))
    assert {fault.at: fault.message for fault in refusal.value.faults} == {
        "topic": "the brand has no topic 'news'",
        "steps.0.add_topic": "the brand has no topic 'nowhere'",
        "steps.1.condition.if.field": "the brand has no field 'shoe'",
    }


async def test_a_mail_that_cannot_be_rendered_is_refused(brand: Tenant) -> None:
    with pytest.raises(InvalidDrip) as refusal:
        await _create(brand, _mail("a"), _mail("b", text="Hello {{ first_nam }}"))
    (fault,) = refusal.value.faults
    assert fault.at == "steps.1.text"
    assert "first_nam" in fault.message


async def test_a_zone_that_nobody_can_have_is_warned_of(brand: Tenant) -> None:
    saved = await create_drip(brand.pool, brand.id, read_definition(_drip(*ABC, zone="subscriber")))
    assert [warning.at for warning in saved.warnings] == ["zone"]


async def test_a_webhook_step_that_nobody_hears_is_warned_of(brand: Tenant) -> None:
    described = _drip(*ABC, {"webhook": "crm"})
    saved = await create_drip(brand.pool, brand.id, read_definition(described))
    assert [warning.at for warning in saved.warnings] == ["steps.3.webhook"]
    await brand.pool.execute(
        """
        INSERT INTO webhook_endpoints (account_id, brand_id, url, secret_sealed, event_types)
        SELECT b.account_id, b.id, 'https://receiver.example', '', '{drip.webhook}' FROM brands AS b WHERE b.id = $1
        """,
        brand.id,
    )
    heard = await create_drip(brand.pool, brand.id, read_definition({**described, "name": "Other"}))
    assert heard.warnings == ()


async def test_a_name_is_given_once_in_a_brand_and_a_preview_says_so(brand: Tenant) -> None:
    await _create(brand, *ABC)
    other = await _create(brand, *ABC, name="Other")
    for deed in (_create(brand, *ABC), _edit(brand, other, *ABC), _preview(brand, other, *ABC)):
        with pytest.raises(InvalidDrip, match="name: the brand has a drip 'Course' already"):
            await deed


async def test_of_two_who_take_a_name_at_once_one_is_refused(brand: Tenant) -> None:
    done = await asyncio.gather(*(_create(brand, *ABC) for _ in range(4)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in done) == ["InvalidDrip"] * 3 + ["int"]


async def test_a_date_trigger_is_planned_for_everybody(brand: Tenant) -> None:
    await brand.field("born")
    await _create(brand, *ABC, trigger="date", field="born")
    assert await _jobs(brand) == ["plan_dates"]


async def test_steps_that_stay_keep_id_and_place(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    before = await _live(brand, drip)
    await _edit(brand, drip, _mail("a", subject="Other words"), _mail("x"), _mail("b"), _mail("c"))
    after = await _live(brand, drip)
    assert all(
        (after[name]["id"], after[name]["position"]) == (row["id"], row["position"])
        for name, row in before.items()
    )
    assert after["a"]["subject"] == "Other words"
    assert GAP < after["x"]["position"] < 2 * GAP


async def test_a_step_that_is_left_out_is_deleted_and_its_place_stays_taken(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await _edit(brand, drip, _mail("a"), _mail("c"))
    await _edit(brand, drip, _mail("a"), _mail("b"), _mail("c"))
    assert [row["deleted_at"] is None for row in await _rows(brand, drip) if row["label"] == "b"].count(
        True
    ) == 1
    assert len(await _rows(brand, drip)) == 4


async def test_only_a_step_that_is_moved_gets_another_place(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    before = await _live(brand, drip)
    await _edit(brand, drip, _mail("c"), _mail("a"), _mail("b"))
    after = await _live(brand, drip)
    assert after["c"]["id"] == before["c"]["id"]
    assert 0 < after["c"]["position"] < GAP
    assert [after[name]["position"] for name in "ab"] == [GAP, 2 * GAP]


async def test_labels_can_be_exchanged(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    before = await _live(brand, drip)
    await _edit(brand, drip, _mail("b", id=before["a"]["id"]), _mail("a", id=before["b"]["id"]), _mail("c"))
    after = await _live(brand, drip)
    assert (after["a"]["id"], after["b"]["id"]) == (before["b"]["id"], before["a"]["id"])


async def test_every_edit_is_another_version_and_a_stale_one_is_refused(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await _edit(brand, drip, *ABC, version=1)
    with pytest.raises(VersionConflict) as refusal:
        await _edit(brand, drip, *ABC, version=1)
    assert refusal.value.version == 2


async def test_edits_at_the_same_moment_take_turns(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await asyncio.gather(*(_edit(brand, drip, *ABC, _mail(f"x{number}")) for number in range(4)))
    assert (await show_drip(brand.pool, brand.id, drip)).version == 5
    assert len(await _live(brand, drip)) == 4


async def test_a_patch_changes_what_it_names(brand: Tenant) -> None:
    drip = await _create(brand, *ABC, goals=["order.paid"], max_per_hour=60)
    patch = {"name": "Better course", "goals": None}
    await edit_drip(brand.pool, EditDrip(brand_id=brand.id, drip_id=drip, described=patch, is_patch=True))
    definition = (await show_drip(brand.pool, brand.id, drip)).definition
    assert (definition.name, definition.goals, definition.max_per_hour) == ("Better course", (), 60)
    assert [step.label for step in definition.steps] == ["a", "b", "c"]


async def test_what_an_earlier_release_took_stays_in_a_drip_that_is_edited_elsewhere(brand: Tenant) -> None:
    told, far = {"label": "end", "exit": "bought"}, {"label": "far", "wait_until": {"date": "2999-12-31"}}
    drip = await _create(brand, *ABC, far, told)
    await brand.pool.execute(
        """
        UPDATE drip_steps SET params = CASE kind WHEN 'exit' THEN $2::jsonb ELSE $3::jsonb END
        WHERE drip_id = $1 AND kind IN ('exit', 'wait_until')
        """,
        drip,
        {"reason": "goal"},
        {"date": "9999-12-31"},
    )
    patch = EditDrip(brand_id=brand.id, drip_id=drip, described={"goals": ["order.paid"]}, is_patch=True)
    await edit_drip(brand.pool, patch)
    definition = (await show_drip(brand.pool, brand.id, drip)).definition
    await _edit(brand, drip, *describe(definition)["steps"], goals=["order.won"])
    with pytest.raises(InvalidDrip, match=r"steps\.3\.exit: 'removed' is what we call another end"):
        await _edit(brand, drip, *ABC, {"label": "end", "exit": "removed"})


@pytest.mark.parametrize(
    ("steps", "settings", "jobs"),
    [
        pytest.param((_mail("a", subject="Other"), *ABC[1:]), {}, [], id="words"),
        pytest.param(ABC, {"goals": ["order.paid"]}, [], id="goals"),
        pytest.param((_mail("a", "2 days"), *ABC[1:]), {}, ["retime"], id="a delay"),
        pytest.param(ABC, {"window": {"days": ["mon"]}}, ["retime"], id="a window"),
        pytest.param(ABC[1:], {}, ["retime"], id="a step less"),
        pytest.param((*ABC, _mail("d")), {}, ["retime"], id="a step more"),
    ],
)
async def test_runs_are_reckoned_anew_when_their_times_change(
    brand: Tenant, steps: tuple[dict[str, Any], ...], settings: dict[str, Any], jobs: list[str]
) -> None:
    drip = await _create(brand, *ABC)
    await _edit(brand, drip, *steps, **settings)
    assert await _jobs(brand) == jobs


async def _due_dates(brand: Tenant) -> int:
    count: int = await brand.pool.fetchval("SELECT count(*) FROM drip_dates")
    return count


async def _plan_due(brand: Tenant, drip: DripId, *, people: int = 3) -> None:
    """Dates that have come, of people who need not exist."""
    await brand.pool.execute("DELETE FROM drip_jobs")
    await brand.pool.execute(
        """
        INSERT INTO drip_dates (drip_id, subscriber_id, brand_id, due_at)
        SELECT $1, n, $2, now() - interval '1 minute' FROM generate_series(1, $3::int) AS n
        """,
        drip,
        brand.id,
        people,
    )


async def test_a_changed_date_trigger_is_planned_anew_and_nobody_begins_by_the_old_plan(
    brand: Tenant,
) -> None:
    await brand.field("born")
    drip = await _create(brand, *ABC, trigger="date", field="born")
    now = await _now(brand)
    person = await brand.subscriber(custom_fields={"born": f"{now - DAY:%Y-%m-%d}"})
    await brand.pool.execute("DELETE FROM drip_jobs")
    await brand.pool.execute(
        """
        INSERT INTO drip_dates (drip_id, subscriber_id, brand_id, due_at)
        VALUES ($1, $2, $3, now() - interval '1 minute')
        """,
        drip,
        person,
        brand.id,
    )
    await _edit(brand, drip, *ABC, trigger="date", field="born", days=9)
    assert await _jobs(brand) == ["plan_dates"]
    begun = await enroll_dated(brand.pool, now=now, behind=0, batch=10)
    assert (begun.due, begun.enrolled) == (1, 0)
    await _retime(brand)
    (due,) = [row["due_at"] for row in await brand.pool.fetch("SELECT due_at FROM drip_dates")]
    assert 7 * DAY < due - now < 9 * DAY


async def test_a_date_trigger_that_is_none_any_more_is_forgotten(brand: Tenant) -> None:
    await brand.field("born")
    drip = await _create(brand, *ABC, trigger="date", field="born")
    await _plan_due(brand, drip)
    await _edit(brand, drip, *ABC)
    assert await _jobs(brand) == ["forget_dates"]
    # In slices.
    await work_drip_job(brand.pool, now=await _now(brand), size=2)
    assert await _due_dates(brand) == 1
    # And before it is planned what an edit meanwhile makes a date trigger again.
    await _edit(brand, drip, *ABC, trigger="date", field="born")
    await work_drip_job(brand.pool, now=await _now(brand), size=2)
    assert (await _due_dates(brand), await _jobs(brand)) == (0, ["plan_dates"])


async def test_what_an_archived_drip_had_planned_is_forgotten_in_the_background(brand: Tenant) -> None:
    await brand.field("born")
    drip = await _create(brand, *ABC, trigger="date", field="born")
    await _plan_due(brand, drip)
    await archive_drip(brand.pool, brand.id, drip)
    assert await _due_dates(brand) == 3
    await _retime(brand)
    assert await _due_dates(brand) == 0


async def test_archiving_once_more_rewrites_nothing(brand: Tenant) -> None:
    await brand.field("born")
    drip = await _create(brand, *ABC, trigger="date", field="born")
    await archive_drip(brand.pool, brand.id, drip)
    before = await _everything(brand)
    await archive_drip(brand.pool, brand.id, drip)
    assert [[(row["xmin"], row["ctid"]) for row in rows] for rows in before[1:]] == [
        [(row["xmin"], row["ctid"]) for row in rows] for rows in (await _everything(brand))[1:]
    ]
    assert (await _everything(brand))[0][0]["ctid"] == before[0][0]["ctid"]


async def test_a_draft_begins_when_an_edit_says_so_and_never_goes_back(brand: Tenant) -> None:
    drip = await _create(brand, *ABC, state="draft")
    await _edit(brand, drip, *ABC)
    assert (await show_drip(brand.pool, brand.id, drip)).state is DripState.DRAFT
    await _edit(brand, drip, *ABC, state="live")
    assert (await show_drip(brand.pool, brand.id, drip)).state is DripState.LIVE
    with pytest.raises(InvalidDrip, match="no draft again"):
        await _edit(brand, drip, *ABC, state="draft")


async def test_an_edit_leaves_a_paused_drip_paused_and_says_so(brand: Tenant) -> None:
    """A file may say `live` since before the pause."""
    drip = await _create(brand, *ABC)
    await pause_drip(brand.pool, brand.id, drip)
    edit = EditDrip(brand_id=brand.id, drip_id=drip, described=_drip(*ABC, state="live"))
    assert [warning.at for warning in (await edit_drip(brand.pool, edit)).warnings] == ["state"]
    assert (await show_drip(brand.pool, brand.id, drip)).state is DripState.PAUSED


async def test_a_patch_does_not_resume_a_paused_drip(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await pause_drip(brand.pool, brand.id, drip)
    patch = EditDrip(brand_id=brand.id, drip_id=drip, described={"state": "live"}, is_patch=True)
    for deed in (edit_drip(brand.pool, patch), preview_edit(brand.pool, patch, now=await _now(brand))):
        with pytest.raises(InvalidDrip, match="resume it"):
            await deed
    assert (await show_drip(brand.pool, brand.id, drip)).version == 1


async def test_an_archived_drip_stays_as_it_is(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await archive_drip(brand.pool, brand.id, drip)
    await archive_drip(brand.pool, brand.id, drip)
    for deed in (
        _edit(brand, drip, *ABC),
        pause_drip(brand.pool, brand.id, drip),
        resume_drip(brand.pool, brand.id, drip),
    ):
        with pytest.raises(DripArchived):
            await deed


async def test_a_draft_is_neither_paused_nor_resumed(brand: Tenant) -> None:
    drip = await _create(brand, *ABC, state="draft")
    with pytest.raises(DripIsADraft):
        await pause_drip(brand.pool, brand.id, drip)
    with pytest.raises(DripIsADraft):
        await resume_drip(brand.pool, brand.id, drip)


async def test_another_brands_drip_is_not_there(brand: Tenant, make_brand: MakeTenant) -> None:
    drip = await _create(brand, *ABC)
    stranger = await make_brand()
    for deed in (
        show_drip(brand.pool, stranger.id, drip),
        pause_drip(brand.pool, stranger.id, drip),
        resume_drip(brand.pool, stranger.id, drip),
        archive_drip(brand.pool, stranger.id, drip),
        retry_failed_runs(brand.pool, stranger.id, drip),
        _edit(stranger, drip, *ABC),
        _preview(stranger, drip, *ABC),
    ):
        with pytest.raises(DripNotFound):
            await deed
    assert (await show_drip(brand.pool, brand.id, drip)).state is DripState.LIVE


async def _crowd(brand: Tenant, drip: DripId, **positions: int) -> None:
    """As after very many steps that were put in at one place."""
    for label, position in positions.items():
        await brand.pool.execute(
            "UPDATE drip_steps SET position = $3 WHERE drip_id = $1 AND label = $2", drip, label, position
        )


async def test_without_room_all_get_new_places_and_everybody_stands_where_he_stood(brand: Tenant) -> None:
    """Whether a run is active, has failed or has ended."""
    drip = await _create(brand, *ABC)
    await _edit(brand, drip, _mail("a"), _mail("c"))
    await _crowd(brand, drip, a=1, b=2, c=4)
    cursors = [0, 1, 2, 3, 4]
    people = [
        await _put_in(brand, drip, f"{state}{cursor}@example.com", cursor_pos=cursor, state=state)
        for cursor in cursors
        for state in ("active", "failed", "completed")
    ]
    await pause_drip(brand.pool, brand.id, drip)
    await _edit(brand, drip, _mail("a"), _mail("x"), _mail("y"), _mail("z"), _mail("c"))
    rows = await _rows(brand, drip)
    assert [row["label"] for row in rows if row["deleted_at"] is None] == ["a", "x", "y", "z", "c"]
    await brand.pool.execute("UPDATE drip_jobs SET not_before = now()")
    while await work_drip_job(brand.pool, now=await _now(brand), size=2):
        pass
    mapping = respaced([1, 2, 4])
    assert [(await _run(brand, person))["cursor_pos"] for person in people] == [
        moved_cursor(cursor, mapping) for cursor in cursors for _ in range(3)
    ]


async def test_a_live_drip_gets_no_step_where_there_is_no_room(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await _crowd(brand, drip, a=1, b=2, c=3)
    edited = (_mail("a"), _mail("x"), _mail("b"), _mail("c"))
    for deed in (_edit(brand, drip, *edited), _preview(brand, drip, *edited)):
        with pytest.raises(InvalidDrip, match="pause the drip"):
            await deed
    assert [row["position"] for row in await _rows(brand, drip)] == [1, 2, 3]


async def test_a_drip_is_resumed_when_its_runs_have_been_moved_along_with_its_steps(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await _crowd(brand, drip, a=1, b=2, c=3)
    await pause_drip(brand.pool, brand.id, drip)
    await _edit(brand, drip, _mail("a"), _mail("x"), _mail("b"), _mail("c"))
    # Not at once: a scheduler that began before the pause may still write places of before.
    assert not await work_drip_job(brand.pool, now=await _now(brand), size=100)
    for dry_run in (True, False):
        with pytest.raises(DripIsRespaced):
            await resume_drip(brand.pool, brand.id, drip, dry_run=dry_run)
    await brand.pool.execute("UPDATE drip_jobs SET not_before = now()")
    await _retime(brand)
    assert (await resume_drip(brand.pool, brand.id, drip)).was is DripState.PAUSED


async def test_a_run_that_a_batch_had_in_hand_at_the_pause_is_moved_along_too(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await _crowd(brand, drip, a=1, b=2, c=3)
    now = await _now(brand)
    person = await _put_in(brand, drip, next_run_at=now)
    async with brand.pool.acquire() as connection, connection.transaction():
        await connection.fetch(ADVANCING["advance"], now, 0, 10, [], [], None, None, *ALL_DRIPS)
        await pause_drip(brand.pool, brand.id, drip)
        await _edit(brand, drip, _mail("a"), _mail("x"), _mail("b"), _mail("c"))
    assert (await _run(brand, person))["cursor_pos"] == 1
    await brand.pool.execute("UPDATE drip_jobs SET not_before = now()")
    await _retime(brand)
    assert (await _run(brand, person))["cursor_pos"] == (await _live(brand, drip))["a"]["position"]


async def test_what_an_earlier_edit_left_to_be_reckoned_is_reckoned_behind_the_moving_of_the_runs(
    brand: Tenant,
) -> None:
    """Between the two a run's old place may lie behind steps that it has not had yet."""
    drip = await _create(brand, _mail("a"), _mail("b", "3 days"), _mail("c"))
    await _crowd(brand, drip, a=1, b=2, c=3)
    now = await _now(brand)
    person = await _put_in(brand, drip, cursor_pos=2, anchor_at=now, next_run_at=now + 5 * DAY)
    await _edit(brand, drip, _mail("a"), _mail("b", "2 days"), _mail("c"))
    await pause_drip(brand.pool, brand.id, drip)
    await _edit(brand, drip, _mail("a"), _mail("x"), _mail("b", "2 days"), _mail("c"))
    assert await _jobs(brand) == ["respace", "retime"]
    await _retime(brand)
    assert (await _run(brand, person))["next_run_at"] == now + 5 * DAY
    await brand.pool.execute("UPDATE drip_jobs SET not_before = now()")
    await _retime(brand)
    # As far as its next step, c, says.
    assert (await _run(brand, person))["next_run_at"] == now + DAY


async def test_a_draft_without_room_needs_nobody_to_move(brand: Tenant) -> None:
    drip = await _create(brand, *ABC, state="draft")
    await _crowd(brand, drip, a=1, b=2, c=3)
    await _edit(brand, drip, _mail("a"), _mail("x"), _mail("b"), _mail("c"), state="live")
    assert "respace" not in await _jobs(brand)
    assert list(await _live(brand, drip)) == ["a", "x", "b", "c"]


async def test_after_an_edit_the_scheduler_sends_what_the_new_steps_say(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    subscriber = await _put_in(brand, drip)
    start = (await _run(brand, subscriber))["anchor_at"]
    await advance_drips(brand.pool, now=start + DAY, behind=0, batch=10)
    await _edit(brand, drip, _mail("a"), _mail("x", "1 hour"), _mail("c", "3 days"))
    await _retime(brand)
    for moment in (start + DAY + HOUR, start + 4 * DAY + HOUR):
        await advance_drips(brand.pool, now=moment, behind=0, batch=10)
    sent = await brand.pool.fetch(
        "SELECT t.label, m.created_at FROM messages AS m JOIN drip_steps AS t ON t.id = m.drip_step_id ORDER BY m.id"
    )
    assert [(row["label"], row["created_at"] - start) for row in sent] == [
        ("a", DAY),
        ("x", DAY + HOUR),
        ("c", 4 * DAY + HOUR),
    ]


async def _everything(brand: Tenant) -> list[list[asyncpg.Record]]:
    tables = ("drips", "drip_steps", "drip_enrollments", "drip_jobs", "drip_tallies", "outbox")
    return [
        await brand.pool.fetch(f"SELECT xmin::text, ctid::text, t.* FROM {table} AS t ORDER BY ctid")
        for table in tables
    ]


async def test_a_preview_writes_nothing(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await _put_in(brand, drip)
    before = await _everything(brand)
    await _preview(brand, drip, _mail("c"), _mail("z"), name="Other")
    assert await _everything(brand) == before


async def test_a_preview_refuses_what_an_edit_refuses(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    with pytest.raises(VersionConflict):
        await _preview(brand, drip, *ABC, version=7)
    with pytest.raises(InvalidDrip):
        await _preview(brand, drip, {"add_topic": "nowhere"})


async def test_a_preview_tells_what_the_edit_then_does(brand: Tenant) -> None:
    """Every kind of run beside the others; what is foretold is what the scheduler's job does."""
    drip = await _create(brand, _mail("a"), _mail("b", "2 days"), _mail("c"))
    now = await _now(brand)
    stands = {
        "fresh": {},
        "behind-a": {"cursor_pos": GAP, "next_run_at": now + DAY, "anchor_at": now - DAY},
        "before-c": {"cursor_pos": 2 * GAP, "next_run_at": now + HOUR, "anchor_at": now},
        "overdue": {"cursor_pos": GAP, "next_run_at": now - HOUR, "anchor_at": now - 3 * DAY},
        "retried": {"cursor_pos": GAP, "next_run_at": now + HOUR, "anchor_at": now - 3 * DAY, "attempts": 2},
    }
    people = {
        name: await _put_in(brand, drip, f"{name}@example.com", **columns) for name, columns in stands.items()
    }
    # b comes at once, c goes, a is as it was.
    edited = (_mail("a"), _mail("b", "1 day"))
    preview = await _preview(brand, drip, *edited)
    before = {name: (await _run(brand, person))["next_run_at"] for name, person in people.items()}
    await _edit(brand, drip, *edited)
    await _retime(brand)
    after = {name: (await _run(brand, person))["next_run_at"] for name, person in people.items()}
    moved = {name for name in people if after[name] != before[name]}
    assert moved == {"behind-a", "before-c"}
    assert (preview.active, preview.is_exact, preview.moved) == (5, True, 2)
    assert (preview.earlier, preview.later, preview.within_the_hour) == (2, 0, 1)
    assert (preview.completing, preview.other_step) == (1, 1)
    assert (preview.steps_kept, preview.steps_deleted, preview.steps_added, preview.steps_moved) == (
        2,
        1,
        0,
        0,
    )


async def test_a_preview_counts_those_who_wait_at_the_end_of_an_evergreen_drip(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"), evergreen=True)
    now = await _now(brand)
    await _put_in(brand, drip, cursor_pos=GAP, next_run_at=None, anchor_at=now - 9 * DAY)
    preview = await _preview(brand, drip, _mail("a"), _mail("b"), evergreen=True)
    assert (preview.moved, preview.within_the_hour, preview.completing) == (1, 1, 0)


async def test_a_preview_with_no_room_reckons_all_the_same(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await _crowd(brand, drip, a=1, b=2, c=3)
    await pause_drip(brand.pool, brand.id, drip)
    await _put_in(brand, drip, cursor_pos=1)
    preview = await _preview(brand, drip, _mail("a"), _mail("x", "3 days"), _mail("b"), _mail("c"))
    assert (preview.moved, preview.other_step, preview.steps_added) == (1, 1, 1)


async def test_of_very_many_runs_a_sample_is_looked_at_and_said_so(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    await brand.pool.execute(
        """
        WITH made AS (
            INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, anchor_at, next_run_at, enrolled_at, state)
            SELECT $1, $2, 1000 + n * 7, now(), now() + interval '1 day', now(), CASE WHEN n % 5 = 0 THEN 'exited' ELSE 'active' END
            FROM generate_series(1, 500) AS n
        )
        INSERT INTO drip_tallies (drip_id, what, n) VALUES ($1, 'enrolled', 500), ($1, 'exited', 100)
        """,
        drip,
        brand.id,
    )
    preview = await _preview(brand, drip, _mail("a", "2 days"), *ABC[1:])
    assert (preview.active, preview.is_exact) == (400, False)
    assert (preview.moved, preview.later, preview.earlier) == (400, 400, 0)


async def test_of_an_evergreen_drip_that_is_one_no_more_a_preview_counts_who_is_completed(
    brand: Tenant,
) -> None:
    drip = await _create(brand, _mail("a"), evergreen=True)
    person = await _put_in(brand, drip, cursor_pos=GAP, next_run_at=None)
    preview = await _preview(brand, drip, _mail("a"))
    await _edit(brand, drip, _mail("a"))
    await _retime(brand)
    assert (await _run(brand, person))["next_run_at"] is not None
    assert (preview.moved, preview.within_the_hour, preview.completing) == (1, 0, 1)


@pytest.mark.parametrize("catch_up", ["shift", "skip"])
async def test_a_longer_delay_is_for_those_who_were_overdue_in_a_pause_too(
    brand: Tenant, catch_up: str
) -> None:
    drip = await _create(brand, _mail("a", "1 hour"), catch_up=catch_up)
    now = await _now(brand)
    person = await _put_in(brand, drip, anchor_at=now - DAY, next_run_at=now - DAY + HOUR)
    await pause_drip(brand.pool, brand.id, drip)
    edited = (_mail("a", "1 week"),)
    preview = await _preview(brand, drip, *edited, catch_up=catch_up)
    await _edit(brand, drip, *edited, catch_up=catch_up)
    await _retime(brand)
    assert (await _run(brand, person))["next_run_at"] == now + 6 * DAY
    assert (preview.moved, preview.later, preview.within_the_hour) == (1, 1, 0)


async def test_who_stays_overdue_keeps_the_moment_that_skipping_looks_at(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a", "3 hours"), _mail("b"), catch_up="skip")
    now = await _now(brand)
    due = now - DAY + 3 * HOUR
    waiting = await _put_in(brand, drip, anchor_at=now - DAY, next_run_at=due)
    ending = await _put_in(brand, drip, "b@example.com", cursor_pos=GAP, anchor_at=now - DAY, next_run_at=due)
    await pause_drip(brand.pool, brand.id, drip)
    edited = (_mail("a", "1 hour"),)
    preview = await _preview(brand, drip, *edited, catch_up="skip")
    await _edit(brand, drip, *edited, catch_up="skip")
    await _retime(brand)
    assert [(await _run(brand, person))["next_run_at"] for person in (waiting, ending)] == [due, due]
    assert preview.moved == 0


@pytest.mark.parametrize(("waits_until", "moves"), [("2999-01-01", True), ("2020-01-01", False)])
async def test_who_is_overdue_and_moves_to_another_zone_waits_again_if_that_lies_ahead(
    brand: Tenant, waits_until: str, moves: bool
) -> None:
    drip = await _create(brand, {"wait_until": {"date": waits_until}}, zone="subscriber")
    now = await _now(brand)
    due = now - HOUR
    person = await _put_in(brand, drip, anchor_at=now - DAY, next_run_at=due)
    async with brand.pool.acquire() as connection:
        await retime_subscribers(connection, [person])
    after = (await _run(brand, person))["next_run_at"]
    assert (after > now) if moves else (after == due)


async def test_a_long_job_does_not_hold_up_that_of_another_drip(brand: Tenant) -> None:
    drips = [await _create(brand, *ABC, name=name) for name in ("long", "short")]
    now = await _now(brand)
    for number in range(4):
        await _put_in(brand, drips[0], f"reader{number}@example.com", next_run_at=now + 9 * DAY)
    late = await _put_in(brand, drips[1], "late@example.com", next_run_at=now + 9 * DAY)
    for drip in drips:
        await brand.pool.execute("INSERT INTO drip_jobs (drip_id, kind) VALUES ($1, 'retime')", drip)
    for _ in drips:
        await work_drip_job(brand.pool, now=now, size=2)
    assert (await _run(brand, late))["next_run_at"] < now + 2 * DAY
    (job,) = await brand.pool.fetch("SELECT after_id FROM drip_jobs WHERE drip_id = $1", drips[0])
    assert job["after_id"] > 0


async def test_resuming_tells_what_has_fallen_due_and_what_becomes_of_it(brand: Tenant) -> None:
    drip = await _create(brand, *ABC, catch_up="skip", max_per_hour=60)
    now = await _now(brand)
    await _put_in(brand, drip, next_run_at=now - HOUR)
    await _put_in(brand, drip, "other@example.com", next_run_at=now + HOUR)
    await pause_drip(brand.pool, brand.id, drip)
    seen = await resume_drip(brand.pool, brand.id, drip, dry_run=True)
    assert (seen.overdue, seen.is_exact, seen.catch_up, seen.max_per_hour) == (1, True, "skip", 60)
    assert seen.oldest_due_at == now - HOUR
    assert (await show_drip(brand.pool, brand.id, drip)).state is DripState.PAUSED
    assert await resume_drip(brand.pool, brand.id, drip) == seen
    row = await brand.pool.fetchrow("SELECT state, skip_due_before FROM drips WHERE id = $1", drip)
    assert row is not None
    assert row["state"] == "live"
    assert row["skip_due_before"] > now


async def test_resuming_a_live_drip_skips_nothing(brand: Tenant) -> None:
    drip = await _create(brand, *ABC, catch_up="skip")
    assert (await resume_drip(brand.pool, brand.id, drip)).was is DripState.LIVE
    assert await brand.pool.fetchval("SELECT skip_due_before FROM drips WHERE id = $1", drip) is None


async def test_failed_runs_go_on_where_they_failed(brand: Tenant) -> None:
    drip = await _create(brand, *ABC, re_enroll="after_end")
    people = [await _put_in(brand, drip, f"reader{n}@example.com", cursor_pos=GAP) for n in range(3)]
    await brand.pool.execute(
        "UPDATE drip_enrollments SET state = 'failed', next_run_at = NULL, attempts = 5, error = 'x', ended_at = now()"
    )
    await brand.pool.execute("INSERT INTO drip_tallies (drip_id, what, n) VALUES ($1, 'failed', 3)", drip)
    # Who is in the drip anew is not in it twice.
    await enroll(brand.pool, Enroll(brand_id=brand.id, drip_id=drip, who=ById(subscriber_id=people[0])))
    assert await retry_failed_runs(brand.pool, brand.id, drip) == 2
    run = await _run(brand, people[1])
    assert (run["state"], run["attempts"], run["error"], run["ended_at"], run["cursor_pos"]) == (
        "active",
        0,
        None,
        None,
        GAP,
    )
    assert run["next_run_at"] <= datetime.now(UTC)  # noqa: TID251
    numbers = (await show_drip(brand.pool, brand.id, drip)).numbers
    assert (numbers.active, numbers.failed) == (3, 1)
    assert await retry_failed_runs(brand.pool, brand.id, drip) == 0


async def test_whoever_waits_is_counted_before_his_step(brand: Tenant) -> None:
    drip = await _create(brand, *ABC)
    for number, cursor in enumerate([0, 0, GAP, GAP - 1, 2 * GAP]):
        await _put_in(brand, drip, f"reader{number}@example.com", cursor_pos=cursor)
    report = await show_drip(brand.pool, brand.id, drip)
    assert [step.waiting for step in report.steps] == [3, 1, 1]
    assert report.waiting_is_exact
    assert not (await show_drip(brand.pool, brand.id, drip, most_runs=4)).waiting_is_exact
