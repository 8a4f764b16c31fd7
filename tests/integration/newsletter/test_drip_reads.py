"""What is shown of drips and runs, and why."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from mailement_common.db.pool import close_pool, new_pool
from mailement_common.ids import SubscriberId
from mailement_common.settings import DatabaseSettings
from mailement_newsletter.commands import ById, Enroll, ReportEvent
from mailement_newsletter.errors import BadCursor, DripNotFound, RunNotFound, SubscriberNotFound
from mailement_newsletter.ids import DripId, RunId
from mailement_newsletter.rules.drip_definition import DripState, read_definition
from mailement_newsletter.rules.drip_explanations import RunExplanation, Verdict
from mailement_newsletter.rules.drip_runs import RunState
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases import (
    list_runs as list_runs_,
)
from mailement_newsletter.usecases import (
    list_runs_of_subscriber as list_runs_of_subscriber_,
)
from mailement_newsletter.usecases import (
    preview_edit,
    retry_failed_runs,
    run_rows,
    show_drip,
    simulate_drip,
)
from mailement_newsletter.usecases import (
    resume_drip as resume_drip_,
)
from mailement_newsletter.usecases import (
    show_run as show_run_,
)
from mailement_newsletter.usecases.advance_drips import advance_drips
from mailement_newsletter.usecases.archive_drip import archive_drip
from mailement_newsletter.usecases.create_drip import create_drip
from mailement_newsletter.usecases.drip_changes import EditDrip
from mailement_newsletter.usecases.drip_stats import drip_stats
from mailement_newsletter.usecases.edit_drip import edit_drip
from mailement_newsletter.usecases.enroll import enroll
from mailement_newsletter.usecases.explain_run import explain_run
from mailement_newsletter.usecases.fold_tallies import SQL as FOLDING
from mailement_newsletter.usecases.fold_tallies import fold_tallies
from mailement_newsletter.usecases.leave import mark_bounced, unsubscribe
from mailement_newsletter.usecases.list_drips import list_drips
from mailement_newsletter.usecases.list_runs import list_runs
from mailement_newsletter.usecases.list_runs_of_subscriber import list_runs_of_subscriber
from mailement_newsletter.usecases.pause_drip import pause_drip
from mailement_newsletter.usecases.report_event import report_event
from mailement_newsletter.usecases.resume_drip import resume_drip
from mailement_newsletter.usecases.run_rows import RunPage
from mailement_newsletter.usecases.show_run import show_run
from mailement_newsletter.usecases.work_drip_jobs import work_drip_job
from tests.integration.newsletter.plans import scans
from tests.support.brands import MakeTenant, Tenant
from tests.support.database import Database
from tests.support.drips import tell_the_scheduler

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def _mail(label: str, delay: str = "0", **given: Any) -> dict[str, Any]:
    return {"label": label, "delay": delay, "subject": label, "text": "Hello.", **given}


async def _create(brand: Tenant, *steps: dict[str, Any], **given: Any) -> DripId:
    described = {"name": "Course", **given, "steps": list(steps)}
    return (await create_drip(brand.pool, brand.id, read_definition(described))).id


async def _put_in(brand: Tenant, drip: DripId, email: str = "reader@example.com") -> SubscriberId:
    subscriber = await brand.subscriber(email)
    await enroll(brand.pool, Enroll(brand_id=brand.id, drip_id=drip, who=ById(subscriber_id=subscriber)))
    return subscriber


async def _run(brand: Tenant) -> asyncpg.Record:
    return (await brand.enrollments())[-1]


async def _advance(brand: Tenant, now: datetime) -> None:
    while (await advance_drips(brand.pool, now=now, behind=0, batch=100)).due:
        pass


async def _explain(brand: Tenant, now: datetime | None = None) -> RunExplanation:
    run = await _run(brand)
    return await explain_run(brand.pool, brand.id, RunId(run["id"]), now=now or run["enrolled_at"])


async def _texts(brand: Tenant, now: datetime | None = None) -> list[tuple[str, str]]:
    return [(step.verdict.value, step.text) for step in (await _explain(brand, now)).steps]


async def _settle(brand: Tenant, label: str, state: str, error: str | None = None, **columns: Any) -> None:
    """As the mailer records it."""
    given = {"state": state, "error": error, "finished_at": (await _run(brand))["enrolled_at"], **columns}
    for column, value in given.items():
        await brand.pool.execute(
            f"""
            UPDATE messages SET {column} = $2
            WHERE drip_step_id IN (SELECT t.id FROM drip_steps AS t WHERE t.label = $1)
            """,
            label,
            value,
        )


async def _everybody(brand: Tenant, drip: DripId, **filters: Any) -> list[RunPage]:
    pages: list[RunPage] = []
    cursor: str | None = None
    while not pages or cursor is not None:
        pages.append(await list_runs(brand.pool, brand.id, drip, limit=2, cursor=cursor, **filters))
        cursor = pages[-1].cursor
    return pages


async def test_drips_come_in_pages_with_their_numbers(brand: Tenant) -> None:
    drips = [await _create(brand, _mail("a"), name=f"Course {number}") for number in range(3)]
    await _put_in(brand, drips[1])
    first = await list_drips(brand.pool, brand.id, limit=2)
    second = await list_drips(brand.pool, brand.id, limit=2, after=first.cursor)
    assert [[drip.id for drip in page.drips] for page in (first, second)] == [drips[:2], drips[2:]]
    assert second.cursor is None
    assert [(drip.numbers.enrolled, drip.numbers.active, drip.steps) for drip in first.drips] == [
        (0, 0, 1),
        (1, 1, 1),
    ]


async def test_drips_of_one_state_are_listed_alone(brand: Tenant) -> None:
    drips = [await _create(brand, _mail("a"), name=f"Course {number}") for number in range(2)]
    await archive_drip(brand.pool, brand.id, drips[0])
    page = await list_drips(brand.pool, brand.id, state=DripState.LIVE)
    assert [drip.id for drip in page.drips] == drips[1:]


async def test_runs_come_in_pages(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"))
    people = [await _put_in(brand, drip, f"reader{number}@example.com") for number in range(5)]
    pages = await _everybody(brand, drip)
    assert [[run.subscriber_id for run in page.runs] for page in pages] == [
        people[:2],
        people[2:4],
        people[4:],
    ]


@pytest.mark.parametrize("state", RunState)
async def test_runs_of_one_state_are_listed_alone(brand: Tenant, state: RunState) -> None:
    drip = await _create(brand, _mail("a"))
    for number, given in enumerate((*RunState, state)):
        subscriber = await _put_in(brand, drip, f"reader{number}@example.com")
        await brand.pool.execute(
            "UPDATE drip_enrollments SET state = $2 WHERE subscriber_id = $1", subscriber, given
        )
    pages = await _everybody(brand, drip, state=state)
    assert [run.state for page in pages for run in page.runs] == [state, state]


async def test_runs_of_one_subscriber_are_listed_alone(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"), re_enroll="always")
    await _put_in(brand, drip, "other@example.com")
    subscriber = await _put_in(brand, drip)
    await _put_in(brand, drip)
    await _put_in(brand, drip, "last@example.com")
    (page,) = await _everybody(brand, drip, who=ById(subscriber_id=subscriber))
    assert [(run.subscriber_id, run.run_no, run.state) for run in page.runs] == [
        (subscriber, 1, "cancelled"),
        (subscriber, 2, "active"),
    ]


async def test_a_page_may_end_at_a_run_of_any_number(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"), re_enroll="always")
    await _put_in(brand, drip)
    await brand.pool.execute("UPDATE drip_enrollments SET run_no = 32765")
    for _ in range(2):
        await _put_in(brand, drip)
    pages = await _everybody(brand, drip)
    assert [run.run_no for page in pages for run in page.runs] == [32765, 32766, 32767]


async def test_runs_of_a_subscriber_are_listed_over_all_drips(brand: Tenant) -> None:
    drips = [
        await _create(brand, _mail("a"), name=f"Course {number}", re_enroll="always") for number in range(2)
    ]
    subscriber, *_ = [await _put_in(brand, drip) for drip in (*drips, drips[0])]
    await _put_in(brand, drips[1], "other@example.com")
    who = ById(subscriber_id=subscriber)
    first = await list_runs_of_subscriber(brand.pool, brand.id, who, limit=2)
    assert [(run.drip_id, run.run_no) for run in first.runs] == [(drips[0], 2), (drips[1], 1)]
    assert first.cursor is not None
    last = await list_runs_of_subscriber(brand.pool, brand.id, who, limit=2, before=RunId(int(first.cursor)))
    assert [(run.drip_id, run.run_no) for run in last.runs] == [(drips[0], 1)]
    assert last.cursor is None


@pytest.mark.parametrize(
    "cursor", ["", "1", "1.", "x.y", "1.32768", "1.99999", "99999999999999999999.1", "1.1 ", "-1.1"]
)
async def test_a_cursor_of_ones_own_is_refused(brand: Tenant, cursor: str) -> None:
    drip = await _create(brand, _mail("a"))
    with pytest.raises(BadCursor):
        await list_runs(brand.pool, brand.id, drip, cursor=cursor)


async def test_others_brands_are_not_seen(brand: Tenant, make_brand: MakeTenant) -> None:
    stranger = await make_brand()
    drip = await _create(brand, _mail("a"))
    unknown = await stranger.subscriber()
    await _put_in(brand, drip)
    run = RunId((await _run(brand))["id"])
    with pytest.raises(DripNotFound):
        await list_runs(stranger.pool, stranger.id, drip)
    with pytest.raises(SubscriberNotFound):
        await list_runs(brand.pool, brand.id, drip, who=ById(subscriber_id=unknown))
    with pytest.raises(SubscriberNotFound):
        await list_runs_of_subscriber(brand.pool, brand.id, ById(subscriber_id=unknown))
    for deed in (
        show_run(stranger.pool, stranger.id, run),
        explain_run(stranger.pool, stranger.id, run, now=(await _run(brand))["enrolled_at"]),
    ):
        with pytest.raises(RunNotFound):
            await deed
    with pytest.raises(DripNotFound):
        await drip_stats(stranger.pool, stranger.id, drip)


async def test_a_run_tells_its_history_in_the_order_of_time(brand: Tenant) -> None:
    await brand.topic("vip")
    drip = await _create(brand, _mail("a"), {"delay": "1 hour", "add_topic": "vip"}, _mail("b", "1 hour"))
    await _put_in(brand, drip)
    start = (await _run(brand))["enrolled_at"]
    for hours in range(3):
        await _advance(brand, start + hours * HOUR)
    await _settle(brand, "a", "sent", opened_at=start + timedelta(minutes=30))
    report = await show_run(brand.pool, brand.id, RunId((await _run(brand))["id"]))
    assert [(entry.what, entry.at - start) for entry in report.history] == [
        ("enrolled", 0 * HOUR),
        ("mail", 0 * HOUR),
        ("opened", HOUR / 2),
        ("add_topic", HOUR),
        ("mail", 2 * HOUR),
        ("ended", 2 * HOUR),
    ]
    assert (report.email, report.status, report.run.state) == ("reader@example.com", "confirmed", "completed")


async def test_mails_of_steps_that_were_deleted_stay_in_the_history(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"), _mail("b", "1 day"))
    await _put_in(brand, drip)
    await _advance(brand, (await _run(brand))["enrolled_at"])
    described = {"name": "Course", "steps": [_mail("b", "1 day")]}
    await edit_drip(brand.pool, EditDrip(brand_id=brand.id, drip_id=drip, described=described))
    report = await show_run(brand.pool, brand.id, RunId((await _run(brand))["id"]))
    assert [entry.what for entry in report.history] == ["enrolled", "mail"]
    assert [step.number for step in (await _explain(brand)).steps] == [None, 1]


async def test_the_numbers_are_a_funnel(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"), _mail("b", "1 day"))
    for number in range(4):
        await _put_in(brand, drip, f"reader{number}@example.com")
    start = (await _run(brand))["enrolled_at"]
    await _advance(brand, start)
    await unsubscribe(
        brand.pool, brand.id, ById(subscriber_id=SubscriberId((await _run(brand))["subscriber_id"]))
    )
    await _advance(brand, start + DAY)
    step = await brand.pool.fetchval("SELECT id FROM drip_steps WHERE label = 'a'")
    for what, number in (("sent", 4), ("opened", 3), ("clicked", 1)):
        await brand.pool.execute("INSERT INTO drip_tallies VALUES ($1, $2, $3, $4)", drip, step, what, number)
    stats = await drip_stats(brand.pool, brand.id, drip)
    assert (stats.numbers.enrolled, stats.numbers.completed, stats.numbers.exited, stats.numbers.active) == (
        4,
        3,
        1,
        0,
    )
    assert stats.completion_rate == 0.75
    assert [
        (step.numbers.ran, step.numbers.sent, step.open_rate, step.click_rate) for step in stats.steps
    ] == [
        (4, 4, 0.75, 0.25),
        (3, 0, None, None),
    ]


async def test_what_comes_next_is_explained(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a", "1 hour"), _mail("b", "1 day"))
    await _put_in(brand, drip)
    start = (await _run(brand))["enrolled_at"]
    due = f"{start + HOUR:%A %Y-%m-%d %H:%M} UTC"
    explained = await _explain(brand)
    assert explained.summary == f"Is before step 1 (a), which is due on {due}."
    assert [step.text for step in explained.steps] == [
        f"Step 1 (a) is due on {due}.",
        "Step 2 (b) is not reached yet.",
    ]
    late = await _explain(brand, start + 2 * HOUR)
    assert late.summary == f"Is before step 1 (a), which is due since {due} and runs in a moment."


async def test_waiting_for_a_window_is_told_in_the_drips_own_zone(brand: Tenant) -> None:
    await brand.pool.execute("UPDATE brands SET timezone = 'Europe/Berlin'")
    drip = await _create(brand, _mail("a"), window={"from": "09:00", "to": "09:01", "days": ["tue"]})
    await _put_in(brand, drip)
    (step,) = (await _explain(brand)).steps
    assert step.text.startswith("Step 1 (a) waits for the window: Tuesday ")
    assert "09:00 Europe/Berlin (its delay is over on " in step.text


async def test_what_waits_for_a_moment_says_so(brand: Tenant) -> None:
    drip = await _create(brand, {"wait_until": {"date": "2060-01-02", "time": "08:00"}})
    await _put_in(brand, drip)
    assert (await _explain(brand)).steps[
        0
    ].text == "Step 1 (wait until) waits until Friday 2060-01-02 08:00 UTC."


@pytest.mark.parametrize(
    ("catch_up", "told"),
    [("shift", "and it runs when that is resumed"), ("skip", "and skips what fell due before it is resumed")],
)
async def test_a_pause_is_explained(brand: Tenant, catch_up: str, told: str) -> None:
    drip = await _create(brand, _mail("a", "1 hour"), catch_up=catch_up)
    await _put_in(brand, drip)
    await pause_drip(brand.pool, brand.id, drip)
    start = (await _run(brand))["enrolled_at"]
    assert (await _explain(brand)).summary.endswith("; the drip is paused.")
    assert told in (await _explain(brand, start + 2 * HOUR)).summary


async def test_a_step_that_was_skipped_says_when_it_fell_due(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"), _mail("b", "1 day"), catch_up="skip")
    await _put_in(brand, drip)
    await pause_drip(brand.pool, brand.id, drip)
    await resume_drip(brand.pool, brand.id, drip)
    assert "is skipped in a moment" in (await _explain(brand)).summary
    start = (await _run(brand))["enrolled_at"]
    await _advance(brand, start + HOUR)
    verdict, text = (await _texts(brand))[0]
    assert verdict == Verdict.SKIPPED
    assert text == (
        f"Step 1 (a) was skipped: it fell due on {start:%A %Y-%m-%d %H:%M} UTC while the drip was paused, and the drip skips."
    )


@pytest.mark.parametrize(
    ("state", "error", "verdict", "told"),
    [
        ("sent", None, Verdict.SENT, "was sent on"),
        ("cancelled", "subscriber_bounced", Verdict.CANCELLED, "its mail was cancelled: subscriber_bounced"),
        ("uncertain", "timeout", Verdict.UNCERTAIN, "is uncertain: its mail may have been delivered"),
        ("failed", "550 no such user", Verdict.FAILED, "its mail failed: 550 no such user"),
        ("queued", None, Verdict.QUEUED, "which waits to be sent"),
        ("queued", "451 later", Verdict.QUEUED, "which waits to be sent again: 451 later"),
    ],
)
async def test_what_became_of_a_mail_is_told(
    brand: Tenant, state: str, error: str | None, verdict: Verdict, told: str
) -> None:
    drip = await _create(brand, _mail("a"))
    await _put_in(brand, drip)
    await _advance(brand, (await _run(brand))["enrolled_at"])
    await _settle(brand, "a", state, error)
    assert [(found, told in text) for found, text in await _texts(brand)] == [(verdict, True)]


async def test_a_mail_that_was_read_says_when(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"))
    await _put_in(brand, drip)
    start = (await _run(brand))["enrolled_at"]
    await _advance(brand, start)
    await _settle(brand, "a", "sent", opened_at=start + HOUR, clicked_at=start + 2 * HOUR)
    ((_, text),) = await _texts(brand)
    assert f"opened on {start + HOUR:%A %Y-%m-%d %H:%M}" in text
    assert f"clicked on {start + 2 * HOUR:%A %Y-%m-%d %H:%M}" in text


async def test_a_branch_says_where_it_led_and_what_it_passed_over(brand: Tenant) -> None:
    drip = await _create(
        brand,
        {"label": "who", "condition": {"if": {"always": True}, "then": "offer"}},
        _mail("between"),
        {"delay": "1 day"},
        _mail("offer"),
    )
    await _put_in(brand, drip)
    await _advance(brand, (await _run(brand))["enrolled_at"])
    texts = await _texts(brand)
    assert [verdict for verdict, _ in texts] == ["ran", "passed_over", "passed_over", "queued"]
    assert texts[0][1].endswith("so the run went on with step 4 (offer).")
    assert texts[1][1] == "Step 2 (between) was passed over: step 1 (who) led to step 4 (offer)."


async def test_a_branch_that_ends_the_run_says_so(brand: Tenant) -> None:
    drip = await _create(
        brand, {"condition": {"if": {"not": {"always": True}}, "otherwise": "exit"}}, _mail("never")
    )
    await _put_in(brand, drip)
    await _advance(brand, (await _run(brand))["enrolled_at"])
    explained = await _explain(brand)
    assert explained.summary.endswith("by a condition.")
    assert [step.text for step in explained.steps][1] == (
        "Step 2 (never) was not reached: the run had ended by a condition."
    )
    assert explained.steps[0].text.endswith("so the run ended.")


async def test_a_step_that_was_put_in_behind_somebody_is_explained(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"), _mail("b", "1 day"))
    await _put_in(brand, drip)
    await _advance(brand, (await _run(brand))["enrolled_at"])
    described = {"name": "Course", "steps": [_mail("new"), _mail("a"), _mail("b", "1 day")]}
    await edit_drip(brand.pool, EditDrip(brand_id=brand.id, drip_id=drip, described=described))
    verdict, text = (await _texts(brand))[0]
    assert verdict == Verdict.PASSED_OVER
    assert "put in after the run had gone by" in text


async def test_why_somebody_left_is_told(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a", "1 day"), goals=["order.paid"])
    for number, (leave, told) in enumerate(
        ((unsubscribe, "by unsubscribing"), (mark_bounced, "because a mail bounced"))
    ):
        subscriber = await _put_in(brand, drip, f"reader{number}@example.com")
        await leave(brand.pool, brand.id, ById(subscriber_id=subscriber))
        explained = await _explain(brand)
        assert explained.summary.endswith(f"{told}.")
        assert explained.steps[0].text.endswith(f"{told}.")
    subscriber = await _put_in(brand, drip, "buyer@example.com")
    await report_event(
        brand.pool, ReportEvent(brand_id=brand.id, who=ById(subscriber_id=subscriber), name="order.paid")
    )
    await tell_the_scheduler(brand)
    assert (await _explain(brand)).summary.endswith("by reaching the drip's goal.")


async def test_a_run_that_failed_or_is_tried_again_says_why(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"))
    await _put_in(brand, drip)
    await brand.pool.execute("UPDATE drip_enrollments SET attempts = 2, error = 'oops'")
    assert "failed 2 times (oops) and is tried again on" in (await _explain(brand)).summary
    await brand.pool.execute(
        "UPDATE drip_enrollments SET state = 'failed', attempts = 5, next_run_at = NULL, ended_at = now()"
    )
    explained = await _explain(brand)
    assert "after 5 attempts: oops" in explained.summary
    assert explained.steps[0].text == "Step 1 (a) could not be carried out: oops."


async def test_the_other_reasons_to_wait_are_told(brand: Tenant, double_brand: Tenant) -> None:
    drip = await _create(double_brand, _mail("a"))
    address = "pending@example.com"
    subscriber = await double_brand.subscriber(address, status=SubscriberStatus.PENDING)
    await enroll(
        brand.pool, Enroll(brand_id=double_brand.id, drip_id=drip, who=ById(subscriber_id=subscriber))
    )
    assert "waits for the subscriber's confirmation" in (await _explain(double_brand)).summary
    paced = await _create(brand, _mail("a"), max_per_hour=1)
    await _put_in(brand, paced)
    await _put_in(brand, paced, "second@example.com")
    start = (await _run(brand))["enrolled_at"]
    await _advance(brand, start)
    assert "allowance for this hour is used up" in (await _explain(brand, start)).summary
    await archive_drip(brand.pool, brand.id, paced)
    assert "the drip is archived" in (await _explain(brand)).summary


async def test_the_end_of_an_evergreen_drip_is_explained(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"), evergreen=True)
    await _put_in(brand, drip)
    await _advance(brand, (await _run(brand))["enrolled_at"])
    assert (
        await _explain(brand)
    ).summary == "Has come to the end, and waits there for steps that are added later."


async def _tally(brand: Tenant, *rows: tuple[int, int, str, int]) -> None:
    await brand.pool.executemany(
        "INSERT INTO drip_tallies (drip_id, step_id, what, n) VALUES ($1, $2, $3, $4)", rows
    )


async def test_what_was_counted_becomes_one_sum_each_and_the_numbers_stay(brand: Tenant) -> None:
    drip = await _create(brand, _mail("a"))
    seen = []
    for _ in range(2):
        await _tally(brand, *[(drip, 0, "enrolled", 2), (drip, 0, "failed", 1), (drip, 7, "sent", 1)] * 3)
        await _tally(brand, (drip, 0, "failed", -1))
        seen.append((await show_drip.load_counts(brand.pool, drip), await _folded(brand, limit=4)))
    counts = {(0, "enrolled"): 12, (0, "failed"): 4, (7, "sent"): 6}
    rows = await brand.pool.fetch("SELECT step_id, what, n FROM drip_tallies")
    assert {(row["step_id"], row["what"]): row["n"] for row in rows} == counts
    assert len(rows) == len(counts)
    assert await show_drip.load_counts(brand.pool, drip) == {
        step: {what: n for (at, what), n in counts.items() if at == step} for step in (0, 7)
    }
    assert [folds for _, folds in seen] == [3, 3]


async def _folded(brand: Tenant, *, limit: int) -> int:
    """How many times it took."""
    times = 1
    while await fold_tallies(brand.pool, limit=limit):
        times += 1
    return times


async def test_with_nothing_to_fold_no_sum_is_looked_at(brand: Tenant) -> None:
    """However many drips there are, also those whose counts are few or that are archived."""
    await brand.pool.execute(
        """
        INSERT INTO drip_tallies (drip_id, step_id, what, n)
        SELECT drip, step, 'ran', 1 FROM generate_series(1, 400) AS drip CROSS JOIN generate_series(1, 100) AS step
        """
    )
    while await fold_tallies(brand.pool, limit=20_000):
        pass
    await brand.pool.execute("VACUUM ANALYZE drip_tallies")
    async with brand.pool.acquire() as connection, connection.transaction():
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {FOLDING['fold'].replace('$1', '20000')}"
        )
    (found,) = orjson.loads(explained)
    assert found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"] < 20


async def test_counting_by_looking_may_take_longer_than_other_statements(
    database: Database, brand: Tenant
) -> None:
    drip = await _create(brand, _mail("a"))
    await _put_in(brand, drip)
    await brand.pool.execute("INSERT INTO drip_jobs (drip_id, kind) VALUES ($1, 'recount')", drip)
    hasty = await new_pool(
        DatabaseSettings(database_url=database.url),
        name="hasty",
        server_settings={"statement_timeout": "200"},
    )
    async with brand.pool.acquire() as holder, holder.transaction():
        # Nothing is so slow among a handful of runs; a lock in the way is.
        await holder.execute("SELECT FROM drip_tallies FOR UPDATE")
        counting = asyncio.create_task(work_drip_job(hasty, now=_NOW, size=100))
        while not counting.done() and not await brand.pool.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND clock_timestamp() > query_start + interval '0.4 s'
            """
        ):
            await asyncio.sleep(0.01)
    await counting
    await close_pool(hasty)
    assert await brand.pool.fetchval("SELECT count(*) FROM drip_jobs") == 0


_NOW = datetime(2031, 5, 1, tzinfo=UTC)
_DAYS = [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        pytest.param(run_rows.SQL["runs"], ([1, 2],), id="rows of runs"),
        pytest.param(list_runs_of_subscriber_.SQL["page"], (1, 1, 2**63 - 1, 51), id="runs of a subscriber"),
        pytest.param(list_runs_.SQL["page"], (1, 0, 0, None, 51, 51, 2**63 - 1), id="runs"),
        pytest.param(list_runs_.SQL["last_looked_at"], (1, 0, 0, 10_000, 2**63 - 1), id="last looked at"),
        pytest.param(list_runs_.SQL["failed"], (1, 0, 0, 51), id="failed runs"),
        pytest.param(show_drip.SQL["waiting"], (1, [1, 2], 10_001), id="waiting"),
        pytest.param(resume_drip_.SQL["overdue"], (1, 100_001), id="overdue"),
        pytest.param(retry_failed_runs.SQL["retry"], (1, 0, 0, 5_000), id="retry"),
        pytest.param(show_run_.SQL["run"], (1, 1), id="run"),
        pytest.param(show_run_.SQL["mails"], (["drip:1:1"],), id="mails"),
        pytest.param(simulate_drip.SQL["start"], (1, 1, "a@b.c", None, _NOW), id="start of a simulation"),
        pytest.param(
            preview_edit.SQL["measure"],
            (1, [], [], "brand", None, None, _DAYS, False, True, True, _NOW, 100),
            id="preview",
        ),
    ],
)
async def test_no_read_goes_through_all_there_is(
    brand: Tenant, query: str, arguments: tuple[Any, ...]
) -> None:
    """Also with a plan that was made for any arguments, on tables that were empty then."""
    async with brand.pool.acquire() as connection:
        found = await scans(connection, query, *arguments, generic=True)
    whole = {scan.table for scan in found if scan.kind == "Seq Scan"}
    assert not {"subscribers", "drip_enrollments", "messages"} & whole
