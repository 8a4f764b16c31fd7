"""What an edit leaves to be done for all runs or subscribers: in which order, for how long, and what becomes of what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from mailement_newsletter.catalog.brands import delete_brand
from mailement_newsletter.usecases.archive_drip import archive_drip
from mailement_newsletter.usecases.retime_subscribers import retime_subscribers
from mailement_newsletter.usecases.show_drip import DripWork, show_drip
from mailement_newsletter.usecases.work_drip_jobs import work_drip_job
from tests.support.brands import Tenant
from tests.support.database import Database
from tests.support.drips import DAY, HOUR, NOON, Series, Step, mail

LATER = timedelta(days=9)


async def _ask(series: Series, *kinds: str, **columns: object) -> None:
    for kind in kinds:
        job = await series.pool.fetchval(
            """INSERT INTO drip_jobs (drip_id, kind, params) VALUES ($1, $2, '{"old": [1024], "new": [2048]}') RETURNING id""",
            series.id,
            kind,
        )
        for column, value in columns.items():
            await series.pool.execute(f"UPDATE drip_jobs SET {column} = $2 WHERE id = $1", job, value)


async def _kinds(brand: Tenant) -> list[str]:
    return [row["kind"] for row in await brand.pool.fetch("SELECT kind FROM drip_jobs ORDER BY id")]


async def _job(series: Series) -> asyncpg.Record:
    (job,) = await series.pool.fetch(
        "SELECT *, now() AS seen_at FROM drip_jobs WHERE drip_id = $1", series.id
    )
    return job


async def _work(brand: Tenant, *, size: int = 100) -> None:
    """All that is due."""
    while await work_drip_job(brand.pool, now=NOON, size=size):
        pass


async def _refuse(brand: Tenant, table: str) -> None:
    await brand.pool.execute(f"ALTER TABLE {table} ADD CONSTRAINT poison CHECK (drip_id < 0) NOT VALID")


@pytest.mark.parametrize("asked", [("retime", "respace"), ("respace", "retime")])
async def test_no_run_is_reckoned_anew_while_any_is_still_to_be_moved_along(
    brand: Tenant, asked: tuple[str, ...]
) -> None:
    series = await Series.create(brand, mail("a", DAY))
    await series.enroll(await brand.subscriber())
    await series.set_step(0, delay=LATER)
    await _ask(series, *asked)
    await brand.pool.execute("UPDATE drip_jobs SET not_before = 'infinity' WHERE kind = 'respace'")
    await _work(brand)
    assert (await series.run())["next_run_at"] == NOON + DAY
    await brand.pool.execute("UPDATE drip_jobs SET not_before = now()")
    await _work(brand)
    assert (await series.run())["next_run_at"] == NOON + LATER


async def test_who_changes_zone_while_runs_are_moved_along_is_reckoned_anew_behind_that(
    brand: Tenant,
) -> None:
    series = await Series.create(
        brand, Step(kind="wait_until", params={"date": "2999-01-01"}), zone="subscriber", state="paused"
    )
    person = await brand.subscriber()
    await series.enroll(person)
    await brand.pool.execute("UPDATE drip_enrollments SET next_run_at = $1", NOON)
    await _ask(series, "respace")
    async with brand.pool.acquire() as connection:
        await retime_subscribers(connection, [person])
        assert (await series.run())["next_run_at"] == NOON
        await connection.execute("DELETE FROM drip_jobs")
        await retime_subscribers(connection, [person])
        assert (await series.run())["next_run_at"] == datetime(2999, 1, 1, tzinfo=UTC)


async def test_a_job_that_does_not_get_done_in_time_is_put_off_and_the_others_go_on(
    brand: Tenant, database: Database
) -> None:
    slow = await Series.create(brand, mail("a"), name="slow")
    other = await Series.create(
        brand, mail("b"), name="other", trigger="date", trigger_field="x", trigger_days=0
    )
    await _ask(slow, "recount")
    await _ask(other, "forget_dates")
    hurried = await asyncpg.create_pool(database.url, min_size=1, max_size=1, command_timeout=1)
    async with hurried, brand.pool.acquire() as connection, connection.transaction():
        # The turn of those who fold counts, which the recount waits for.
        await connection.execute("LOCK TABLE drip_enrollments, drip_tallies IN ACCESS EXCLUSIVE MODE")
        await connection.execute("SELECT pg_advisory_xact_lock(x'74616c6c696573'::bigint)")
        for _ in range(2):
            assert await work_drip_job(hurried, now=NOON, size=10)
        assert not await work_drip_job(hurried, now=NOON, size=10)
    assert await _kinds(brand) == ["recount"]
    job = await _job(slow)
    assert (job["attempts"], job["error"].split(":")[0]) == (1, "TimeoutError")
    assert job["not_before"] > job["seen_at"]


@pytest.mark.parametrize("tries", [0, 9, 2000])
async def test_what_a_drip_waits_for_is_tried_again_within_the_hour_however_often_it_was_refused(
    brand: Tenant, tries: int
) -> None:
    series = await Series.create(brand, mail("a"))
    await series.enroll(await brand.subscriber())
    await brand.pool.execute("UPDATE drip_enrollments SET cursor_pos = 1024")
    await _ask(series, "respace", attempts=tries)
    await _refuse(brand, "drip_enrollments")
    await _work(brand)
    job = await _job(series)
    assert job["attempts"] == tries + 1
    assert timedelta(0) < job["not_before"] - job["seen_at"] <= HOUR
    (work,) = (await show_drip(brand.pool, brand.id, series.id)).work
    assert work == DripWork(kind="respace", attempts=tries + 1, error=job["error"])
    assert "poison" in job["error"]


async def test_a_job_that_nothing_waits_for_is_given_up_in_the_end(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", DAY))
    await series.enroll(await brand.subscriber())
    await series.set_step(0, delay=LATER)
    await _ask(series, "retime", attempts=9)
    await _refuse(brand, "drip_enrollments")
    await _work(brand)
    assert await brand.pool.fetchval("SELECT not_before = 'infinity' FROM drip_jobs")


async def test_of_an_archived_drip_no_moments_are_reckoned_any_more(brand: Tenant) -> None:
    await brand.field("day")
    series = await Series.create(brand, mail("a", DAY), trigger="date", trigger_field="day", trigger_days=0)
    for number in range(3):
        await series.enroll(await brand.subscriber(f"reader{number}@example.com"))
    await series.set_step(0, delay=LATER)
    await _ask(series, "retime", "plan_dates")
    await archive_drip(brand.pool, brand.id, series.id)
    for _ in range(3):
        assert await work_drip_job(brand.pool, now=NOON, size=1)
    assert await _kinds(brand) == []
    assert {run["next_run_at"] for run in await series.runs()} == {NOON + DAY}


async def test_what_the_drips_of_a_deleted_brand_had_planned_is_forgotten(brand: Tenant) -> None:
    dated = await Series.create(
        brand, mail("a"), name="dated", trigger="date", trigger_field="day", trigger_days=0
    )
    await Series.create(brand, mail("a"), name="other")
    await brand.pool.execute(
        "INSERT INTO drip_dates (drip_id, subscriber_id, brand_id, due_at) VALUES ($1, 1, $2, now())",
        dated.id,
        brand.id,
    )
    async with brand.pool.acquire() as connection:
        await delete_brand(connection, brand.brand)
    assert await _kinds(brand) == ["forget_dates"]
    await _work(brand)
    assert await brand.pool.fetchval("SELECT count(*) FROM drip_dates") == 0


async def test_a_plan_by_a_drip_as_it_was_before_an_edit_is_put_right_when_it_comes_late(
    brand: Tenant,
) -> None:
    await brand.field("day")
    series = await Series.create(brand, mail("a"), trigger="date", trigger_field="day", trigger_days=0)
    await brand.subscriber(custom_fields={"day": "2998-05-01"})
    await _ask(series, "plan_dates")
    await _work(brand)
    planned = await brand.pool.fetchval("SELECT due_at FROM drip_dates")
    assert planned == datetime(2998, 5, 1, 9, tzinfo=UTC)
    # By somebody who read the drip before, and was slower.
    await brand.pool.execute("UPDATE drip_dates SET due_at = due_at - interval '5 hours'")
    assert (
        30
        < (await _job(series))["not_before"].timestamp() - (await _job(series))["seen_at"].timestamp()
        <= 35
    )
    await brand.pool.execute("UPDATE drip_jobs SET not_before = now()")
    await _work(brand)
    assert await brand.pool.fetchval("SELECT due_at FROM drip_dates") == planned
    assert await _kinds(brand) == []
