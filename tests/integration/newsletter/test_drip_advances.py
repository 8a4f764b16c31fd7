"""Due steps become mails, each once, and enrolments move on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from mailement_common.ids import SubscriberId, event_id
from mailement_newsletter.catalog.brands import delete_brand
from mailement_newsletter.commands import ById, Enroll
from mailement_newsletter.rules.drip_definition import DripState
from mailement_newsletter.rules.drip_edits import GAP
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.advance_drips import Advanced, advance_drips, next_due
from mailement_newsletter.usecases.enroll import enroll
from mailement_newsletter.usecases.leave import unsubscribe
from tests.support.brands import AT_ONCE, Tenant

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


async def _advance(brand: Tenant, now: datetime, *, behind: int = 0, batch: int = 100) -> Advanced:
    return await advance_drips(brand.pool, now=now, behind=behind, batch=batch)


async def _enrolled(brand: Tenant, *delays: timedelta) -> tuple[int, SubscriberId, datetime]:
    """A drip, a subscriber in it, and since when."""
    drip = await brand.drip(*delays)
    subscriber = await brand.subscriber()
    await enroll(brand.pool, Enroll(brand_id=brand.id, drip_id=drip, who=ById(subscriber_id=subscriber)))
    return drip, subscriber, (await brand.enrollments())[0]["enrolled_at"]


async def _many_enrolled(brand: Tenant, drip: int, due: datetime, number: int) -> None:
    await brand.pool.execute(
        """
        WITH made AS (
            INSERT INTO subscribers (brand_id, email, email_key, status)
            SELECT $1, address, address, 'confirmed'
            FROM generate_series(1, $4::int) AS n, format('%s-%s@example.com', $2::bigint, n) AS address
            RETURNING id
        )

        INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, anchor_at, next_run_at, enrolled_at)
        SELECT $2, $1, m.id, $3, $3, $3 FROM made AS m
        """,
        brand.id,
        drip,
        due,
        number,
    )


async def _mails(brand: Tenant) -> list[asyncpg.Record]:
    return await brand.pool.fetch(
        """
        SELECT m.*, t.subject
        FROM messages AS m
        INNER JOIN drip_steps AS t ON m.drip_step_id = t.id
        WHERE m.brand_id = $1
        ORDER BY m.id
        """,
        brand.id,
    )


async def _subjects(brand: Tenant) -> list[str]:
    return [mail["subject"] for mail in await _mails(brand)]


async def _enrollment(brand: Tenant) -> asyncpg.Record:
    (enrollment,) = await brand.enrollments()
    return enrollment


async def test_the_first_delay_counts_from_the_enrolment(brand: Tenant) -> None:
    *_, enrolled = await _enrolled(brand, 2 * HOUR)
    assert (await _advance(brand, enrolled + 2 * HOUR - SECOND)).due == 0
    assert (await _advance(brand, enrolled + 2 * HOUR)).queued == 1


async def test_later_delays_count_from_the_run_before(brand: Tenant) -> None:
    *_, enrolled = await _enrolled(brand, HOUR, DAY)
    late = enrolled + 5 * HOUR
    await _advance(brand, late)
    assert (await _enrollment(brand))["next_run_at"] == late + DAY


async def test_a_drip_runs_step_by_step_and_is_then_completed(brand: Tenant) -> None:
    *_, enrolled = await _enrolled(brand, AT_ONCE, HOUR, DAY)
    for elapsed in (AT_ONCE, HOUR, HOUR + DAY, 99 * DAY):
        await _advance(brand, enrolled + elapsed)
    enrollment = await _enrollment(brand)
    assert await _subjects(brand) == ["step 1", "step 2", "step 3"]
    assert (enrollment["state"], enrollment["next_run_at"], enrollment["exit_reason"]) == (
        "completed",
        None,
        None,
    )


async def test_one_call_runs_one_step_even_if_the_next_has_no_delay(brand: Tenant) -> None:
    *_, enrolled = await _enrolled(brand, AT_ONCE, AT_ONCE)
    assert [(await _advance(brand, enrolled)).queued for _ in range(3)] == [1, 1, 0]


async def test_a_mail_is_a_row_of_the_ledger_and_leaves_at_once(brand: Tenant) -> None:
    drip, subscriber, enrolled = await _enrolled(brand, AT_ONCE)
    await _advance(brand, enrolled)
    (mail,) = await _mails(brand)
    enrollment = await _enrollment(brand)
    assert (mail["brand_id"], mail["subscriber_id"], mail["drip_id"]) == (brand.id, subscriber, drip)
    assert (mail["kind"], mail["state"], mail["not_before"]) == ("drip", "queued", enrolled)
    assert mail["dedupe_key"] == f"drip:{enrollment['id']}:{mail['drip_step_id']}"


async def test_one_event_for_a_brand_and_batch_says_that_mail_waits(brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE)
    await _many_enrolled(brand, drip, FAR, 3)
    await _advance(brand, FAR)
    (event,) = await brand.events()
    first = (await _mails(brand))[0]["id"]
    assert (event["type"], event["data"]) == ("message.queued", {"count": 3})
    assert event["event_id"] == event_id("message", first, 1)


async def test_when_nothing_is_due_nothing_is_written(brand: Tenant) -> None:
    *_, enrolled = await _enrolled(brand, HOUR)
    events = len(await brand.events())
    assert (await _advance(brand, enrolled)).due == 0
    assert len(await brand.events()) == events


async def test_a_paused_drip_does_nothing_and_goes_on_when_resumed(brand: Tenant) -> None:
    drip, _, enrolled = await _enrolled(brand, AT_ONCE)
    await brand.set_drip(drip, DripState.PAUSED)
    assert (await _advance(brand, enrolled + DAY)).due == 0
    await brand.set_drip(drip, DripState.LIVE)
    assert (await _advance(brand, enrolled + DAY)).queued == 1


async def test_the_drips_of_a_deleted_brand_stop(brand: Tenant) -> None:
    *_, enrolled = await _enrolled(brand, AT_ONCE, AT_ONCE)
    await _advance(brand, enrolled)
    async with brand.pool.acquire() as connection:
        await delete_brand(connection, brand.brand)
    assert (await _advance(brand, enrolled + DAY)).due == 0
    assert [mail["state"] for mail in await _mails(brand)] == ["cancelled"]


async def test_leaving_ends_the_drip_and_cancels_what_waits(brand: Tenant) -> None:
    _, subscriber, enrolled = await _enrolled(brand, AT_ONCE, AT_ONCE)
    await _advance(brand, enrolled)
    await unsubscribe(brand.pool, brand.id, ById(subscriber_id=subscriber))
    enrollment = await _enrollment(brand)
    assert (enrollment["state"], enrollment["exit_reason"]) == ("exited", "unsubscribed")
    assert [mail["state"] for mail in await _mails(brand)] == ["cancelled"]
    assert (await _advance(brand, enrolled + DAY)).due == 0


@pytest.mark.parametrize("status", ["unsubscribed", "bounced", "complained"])
async def test_who_has_left_gets_no_mail_even_if_his_enrolment_was_overlooked(
    brand: Tenant, status: str
) -> None:
    _, subscriber, enrolled = await _enrolled(brand, AT_ONCE)
    await brand.pool.execute("UPDATE subscribers SET status = $2 WHERE id = $1", subscriber, status)
    done = await _advance(brand, enrolled)
    assert (done.due, done.queued) == (1, 0)
    enrollment = await _enrollment(brand)
    assert (enrollment["state"], enrollment["exit_reason"], enrollment["next_run_at"]) == (
        "exited",
        status,
        None,
    )


async def test_a_subscriber_who_is_gone_leaves_his_drips(brand: Tenant) -> None:
    _, subscriber, enrolled = await _enrolled(brand, AT_ONCE)
    await brand.pool.execute("DELETE FROM subscribers WHERE id = $1", subscriber)
    await _advance(brand, enrolled)
    enrollment = await _enrollment(brand)
    assert (enrollment["state"], enrollment["exit_reason"]) == ("exited", "deleted")


async def test_a_subscriber_who_is_pending_again_waits_without_losing_his_place(brand: Tenant) -> None:
    _, subscriber, enrolled = await _enrolled(brand, AT_ONCE)
    await brand.pool.execute("UPDATE subscribers SET status = 'pending' WHERE id = $1", subscriber)
    assert (await _advance(brand, enrolled)).queued == 0
    enrollment = await _enrollment(brand)
    assert (enrollment["state"], enrollment["next_run_at"], enrollment["cursor_pos"]) == ("active", None, 0)


async def test_a_deleted_step_is_skipped(brand: Tenant) -> None:
    *_, enrolled = await _enrolled(brand, AT_ONCE, HOUR, DAY)
    await brand.pool.execute("UPDATE drip_steps SET deleted_at = now() WHERE subject = 'step 2'")
    await _advance(brand, enrolled)
    assert (await _enrollment(brand))["next_run_at"] == enrolled + DAY
    await _advance(brand, enrolled + DAY)
    assert await _subjects(brand) == ["step 1", "step 3"]


async def test_when_every_step_that_was_left_is_deleted_the_drip_is_completed(brand: Tenant) -> None:
    *_, enrolled = await _enrolled(brand, AT_ONCE, HOUR)
    await _advance(brand, enrolled)
    await brand.pool.execute("UPDATE drip_steps SET deleted_at = now()")
    assert (await _advance(brand, enrolled + HOUR)).queued == 0
    assert (await _enrollment(brand))["state"] == "completed"


async def test_a_step_put_in_ahead_runs_and_one_put_in_behind_does_not(brand: Tenant) -> None:
    drip, _, enrolled = await _enrolled(brand, AT_ONCE, AT_ONCE)
    await _advance(brand, enrolled)
    await brand.pool.executemany(
        "INSERT INTO drip_steps (drip_id, position, delay, subject, body_text) VALUES ($1, $2, '0', $3, 'Hello.')",
        [(drip, GAP // 2, "behind"), (drip, GAP * 3 // 2, "ahead")],
    )
    for _ in range(3):
        await _advance(brand, enrolled)
    assert await _subjects(brand) == ["step 1", "ahead", "step 2"]


async def test_drips_are_served_in_turn(brand: Tenant) -> None:
    drips = [await brand.drip(AT_ONCE, name=name) for name in ("one", "two", "three")]
    for drip in drips:
        await _many_enrolled(brand, drip, FAR, 30)
    served, behind = [], 0
    for _ in drips:
        behind = (await _advance(brand, FAR, behind=behind, batch=10)).last_drip_id
        served.append(behind)
    assert served == drips


async def test_many_schedulers_at_once_queue_each_step_once(brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE, AT_ONCE)
    await _many_enrolled(brand, drip, FAR, 300)

    async def schedule() -> list[Advanced]:
        done = [await _advance(brand, FAR, batch=17)]
        while done[-1].due:
            done.append(await _advance(brand, FAR, batch=17))
        return done

    batches = [batch for done in await asyncio.gather(*(schedule() for _ in range(6))) for batch in done]
    assert (sum(batch.due for batch in batches), sum(batch.queued for batch in batches)) == (600, 600)
    assert sorted(await _subjects(brand)) == ["step 1"] * 300 + ["step 2"] * 300
    assert {enrollment["state"] for enrollment in await brand.enrollments()} == {"completed"}


async def test_a_locked_enrolment_is_skipped_and_not_waited_for(brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE)
    await _many_enrolled(brand, drip, FAR, 3)
    async with brand.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM drip_enrollments WHERE id = 1 FOR NO KEY UPDATE")
        assert (await _advance(brand, FAR)).due == 2
    assert (await _advance(brand, FAR)).due == 1


async def test_the_next_due_step_is_the_earliest_of_all_live_drips(brand: Tenant) -> None:
    assert await next_due(brand.pool) is None
    early, late, paused = [await brand.drip(AT_ONCE, name=name) for name in ("early", "late", "paused")]
    for drip, moment in ((late, FAR + DAY), (early, FAR), (paused, FAR - DAY)):
        await _many_enrolled(brand, drip, moment, 2)
    await brand.set_drip(paused, DripState.PAUSED)
    assert await next_due(brand.pool) == FAR


async def test_who_waits_for_a_confirmation_is_not_due(double_brand: Tenant) -> None:
    drip = await double_brand.drip(AT_ONCE)
    subscriber = await double_brand.subscriber(status=SubscriberStatus.PENDING)
    await enroll(
        double_brand.pool, Enroll(brand_id=double_brand.id, drip_id=drip, who=ById(subscriber_id=subscriber))
    )
    assert (await next_due(double_brand.pool), (await _advance(double_brand, FAR)).due) == (None, 0)
