"""Work costs in proportion to what is due or asked for, not to what is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mailement_newsletter.catalog import subscribers as catalog
from mailement_newsletter.usecases import (
    advance_drips,
    change_tags,
    end_runs,
    enroll,
    enroll_dated,
    leave,
    plan_dates,
    retime_subscribers,
    start_drips,
    subscribe,
    work_drip_jobs,
)
from tests.integration.newsletter.plans import scans
from tests.support.brands import READER, Tenant

STORED = 50_000
NOW = datetime(2030, 1, 1, tzinfo=UTC)
ADVANCE: tuple[Any, ...] = (NOW, 0, 500, [], [], None, None, *advance_drips.ALL_DRIPS)
ASKED = {"seq": 0, "email": READER, "email_key": READER, "topic_ids": [1], "tags": ["a"]}

_FORGET = """
DELETE FROM pg_statistic
WHERE starelid IN ('subscribers'::regclass, 'drip_enrollments'::regclass, 'drips'::regclass, 'drip_steps'::regclass)
"""

both_plans = pytest.mark.parametrize("generic", [False, True], ids=["custom plan", "generic plan"])


@pytest.fixture
async def full_brand(brand: Tenant) -> Tenant:
    """A brand with 50,000 subscribers, each in a drip, of whom 500 have a step due."""
    drip = await brand.drip()
    await brand.pool.execute(
        """
        INSERT INTO subscribers (brand_id, email, email_key, status)
        SELECT $1, n || '@example.com', n || '@example.com', 'confirmed' FROM generate_series(1, $2) AS n
        """,
        brand.id,
        STORED,
    )
    await brand.pool.execute(
        """
        INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, anchor_at, next_run_at, enrolled_at)
        SELECT $1, $2, s.id, now(), $3::timestamptz + (s.id % 100) * interval '1 hour', now()
        FROM subscribers AS s
        """,
        drip,
        brand.id,
        NOW,
    )
    await brand.pool.execute("ANALYZE subscribers, drip_enrollments, drips")
    return brand


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "not analyzed"])
async def test_claiming_due_steps_reads_only_what_is_due(full_brand: Tenant, analyzed: bool) -> None:
    """Planned for its arguments: the scheduler's sessions plan each time."""
    async with full_brand.pool.acquire() as connection:
        if not analyzed:
            await connection.execute(_FORGET)
        found = await scans(connection, advance_drips.SQL["advance"], *ADVANCE, generic=False)
    claims = [scan for scan in found if scan.part == "due" and scan.table == "drip_enrollments"]
    assert [(scan.kind, scan.index) for scan in claims] == [("Index Scan", "drip_enrollments_due")]


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "not analyzed"])
async def test_moving_on_touches_only_what_was_claimed(full_brand: Tenant, analyzed: bool) -> None:
    async with full_brand.pool.acquire() as connection:
        if not analyzed:
            await connection.execute(_FORGET)
        found = await scans(connection, advance_drips.SQL["advance"], *ADVANCE, generic=False)
    sequential = {scan.table for scan in found if scan.kind == "Seq Scan"}
    assert not {"subscribers", "drip_enrollments"} & sequential


@both_plans
async def test_the_next_due_step_is_found_by_index(full_brand: Tenant, generic: bool) -> None:
    async with full_brand.pool.acquire() as connection:
        found = await scans(
            connection, advance_drips.SQL["next_due"], [], [], *advance_drips.ALL_DRIPS, generic=generic
        )
    assert "drip_enrollments_due" in {scan.index for scan in found}
    assert ("Seq Scan", "drip_enrollments") not in {(scan.kind, scan.table) for scan in found}


@both_plans
@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "not analyzed"])
async def test_signing_up_finds_the_subscriber_by_brand_and_key(
    full_brand: Tenant, generic: bool, analyzed: bool
) -> None:
    async with full_brand.pool.acquire() as connection:
        if not analyzed:
            await connection.execute("DELETE FROM pg_statistic WHERE starelid = 'subscribers'::regclass")
        asked = [{**ASKED, "brand_id": full_brand.id}]
        found = await scans(connection, subscribe.SQL["subscribe"], asked, generic=generic)
    assert "subscribers_email_key" in {scan.index for scan in found}
    assert ("Seq Scan", "subscribers") not in {(scan.kind, scan.table) for scan in found}


@both_plans
@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        pytest.param(leave.SQL["leave"], (READER, None, "unsubscribed", ["confirmed"], None), id="leave"),
        pytest.param(change_tags.SQL["change_tags"], (READER, None, ["a"], ["b"], None), id="change_tags"),
        pytest.param(enroll.SQL["enroll"], (READER, None, 1, None), id="enroll"),
        pytest.param(catalog.SQL["find"], (READER, None), id="find"),
    ],
)
async def test_every_deed_finds_its_subscriber_by_index(
    full_brand: Tenant, query: str, arguments: tuple[Any, ...], generic: bool
) -> None:
    async with full_brand.pool.acquire() as connection:
        found = await scans(connection, query, full_brand.id, *arguments, generic=generic)
    sequential = {scan.table for scan in found if scan.kind == "Seq Scan"}
    assert not {"subscribers", "drip_enrollments"} & sequential


@both_plans
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (
            "enroll_triggered",
            [{"brand_id": 1, "subscriber_id": 1, "confirmed": True, "topic_ids": [1], "event": "bought"}],
        ),
        ("release_waiting", [1, 2]),
    ],
)
async def test_starting_drips_touches_only_whom_it_concerns(
    full_brand: Tenant, name: str, argument: Any, generic: bool
) -> None:
    async with full_brand.pool.acquire() as connection:
        found = await scans(connection, start_drips.SQL[name], argument, generic=generic)
    sequential = {scan.table for scan in found if scan.kind == "Seq Scan"}
    assert not {"subscribers", "drip_enrollments"} & sequential


@both_plans
async def test_ending_runs_touches_only_whom_it_concerns(full_brand: Tenant, generic: bool) -> None:
    asked = [{"happened_at": NOW, "brand_id": full_brand.id, "subscriber_id": 1, "event": "bought"}]
    async with full_brand.pool.acquire() as connection:
        found = await scans(connection, end_runs.SQL["end_runs"], asked, generic=generic)
    assert "drip_enrollments" not in {scan.table for scan in found if scan.kind == "Seq Scan"}


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        pytest.param(start_drips.SQL["release_waiting"], ([1, 2],), id="release_waiting"),
        pytest.param(enroll.SQL["enroll"], (1, READER, None, 1, None), id="enroll"),
        pytest.param(start_drips.SQL["enroll_triggered"], ([],), id="enroll_triggered"),
        pytest.param(end_runs.SQL["end_runs"], ([],), id="end_runs"),
        pytest.param(plan_dates.SQL["plan"], ([1, 2], None), id="plan_dates"),
        pytest.param(retime_subscribers.SQL["retime"], ([1, 2],), id="retime_subscribers"),
        pytest.param(enroll_dated.SQL["enroll"], (NOW, 0, 500, None, None), id="enroll_dated"),
        pytest.param(work_drip_jobs.SQL["retime"], (1, 0, 5000, NOW), id="retime"),
        pytest.param(work_drip_jobs.SQL["respace"], (1, 0, 5000, [1], [2]), id="respace"),
        pytest.param(work_drip_jobs.SQL["forget_dates"], (1, 0, 5000), id="forget_dates"),
        pytest.param(work_drip_jobs.SQL["slice_of_brand"], (1, 0, 5000), id="slice_of_brand"),
    ],
)
async def test_a_plan_made_on_empty_tables_does_not_begin_with_everybody(
    brand: Tenant, query: str, arguments: tuple[Any, ...]
) -> None:
    """Prepared statements keep the plan of an installation's first minute until the tables are first analyzed."""
    async with brand.pool.acquire() as connection:
        found = await scans(connection, query, *arguments, generic=True)
    whole = {scan.table for scan in found if scan.kind == "Seq Scan"}
    assert not {"subscribers", "drip_enrollments", "drip_dates", "messages"} & whole
