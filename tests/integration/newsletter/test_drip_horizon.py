"""A claim costs what it takes, also while somebody's long transaction keeps every dead row alive."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from mailement_drip_scheduler.floors import FloorBook
from mailement_newsletter.usecases.advance_drips import (
    ALL_DRIPS,
    NO_FLOORS,
    SQL,
    Floors,
    Share,
    advance_drips,
)
from tests.support.brands import Tenant
from tests.support.drips import DAY, NOON, Series, mail

pytestmark = pytest.mark.timeout(180)

_DUE = 12_000
_BATCH = 500


async def _crowd(brand: Tenant, runs: int) -> Series:
    """Due within the hour before noon, in another order than they were enrolled."""
    series = await Series.create(brand, mail("a"), mail("b", DAY))
    await brand.pool.execute(
        """
        WITH made AS (
            INSERT INTO subscribers (brand_id, email, email_key, status)
            SELECT $1, n || '@example.com', n || '@example.com', 'confirmed' FROM generate_series(1, $3::int) AS n
            RETURNING id
        )

        INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, anchor_at, next_run_at, enrolled_at)
        SELECT $2, $1, m.id, $4, $4::timestamptz - interval '1 hour' * ((m.id * 7919 % $3)::float / $3), $4 FROM made AS m
        """,
        brand.id,
        series.id,
        runs,
        NOON,
    )
    await brand.pool.execute("ANALYZE subscribers, drip_enrollments, drips, drip_steps")
    return series


async def _index_pages(pool: asyncpg.Pool, now: datetime, floors: Floors) -> int:
    """Pages that the look for due runs touches, of a claim that is undone."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {SQL['advance']}",
            now,
            0,
            _BATCH,
            list(floors),
            list(floors.values()),
            None,
            None,
            *ALL_DRIPS,
        )
        await transaction.rollback()
    return _pages_of_part(orjson.loads(explained)[0]["Plan"], "CTE due")


def _pages_of_part(node: dict[str, Any], part: str) -> int:
    if node.get("Subplan Name") == part:
        return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])
    return max((_pages_of_part(inner, part) for inner in node.get("Plans", [])), default=0)


async def _work_off(pool: asyncpg.Pool, book: FloorBook, *, batches: int) -> None:
    for _ in range(batches):
        done = await advance_drips(pool, now=NOON, behind=0, batch=_BATCH, floors=book.floors)
        for drip, claimed in done.drips.items():
            book.note(drip, claimed)


async def test_a_claim_begins_where_the_last_one_ended_while_an_old_snapshot_is_held(brand: Tenant) -> None:
    await _crowd(brand, _DUE)
    book = FloorBook()
    async with brand.pool.acquire() as old, old.transaction(isolation="repeatable_read"):
        await old.fetchval("SELECT count(*) FROM drips")
        first = await _index_pages(brand.pool, NOON, book.floors)
        await _work_off(brand.pool, book, batches=_DUE // _BATCH - 4)
        with_floors = await _index_pages(brand.pool, NOON, book.floors)
        from_the_first = await _index_pages(brand.pool, NOON, NO_FLOORS)
    assert with_floors < 1.5 * first
    # The test could not fail otherwise: what it is about is there.
    assert from_the_first > 3 * with_floors


async def test_an_idle_look_passes_what_was_taken_while_an_old_snapshot_is_held(brand: Tenant) -> None:
    await _crowd(brand, _DUE)
    book = FloorBook()
    async with brand.pool.acquire() as old, old.transaction(isolation="repeatable_read"):
        await old.fetchval("SELECT count(*) FROM drips")
        await _work_off(brand.pool, book, batches=_DUE // _BATCH)
        assert await _index_pages(brand.pool, NOON, book.floors) < 100
        assert await _index_pages(brand.pool, NOON, NO_FLOORS) > 1000


async def test_what_is_due_a_moment_before_the_place_is_found_all_the_same(brand: Tenant) -> None:
    """A run is due from the beginning of the transaction that enrolled it, which may commit after its neighbours'."""
    series = await _crowd(brand, 1000)
    book = FloorBook()
    await _work_off(brand.pool, book, batches=2)
    late = await brand.subscriber("late@example.com")
    await series.enroll(late)
    await brand.pool.execute(
        "UPDATE drip_enrollments SET next_run_at = $2 WHERE subscriber_id = $1",
        late,
        NOON - timedelta(seconds=1),
    )
    await _work_off(brand.pool, book, batches=1)
    assert await series.subjects(late) == ["a"]


async def test_a_drip_that_is_not_busy_is_always_looked_through_from_the_first(brand: Tenant) -> None:
    await _crowd(brand, 15)
    book = FloorBook()
    await _work_off(brand.pool, book, batches=1)
    assert book.floors == NO_FLOORS


@pytest.mark.parametrize("query", ["advance", "next_due"])
async def test_a_drips_floor_is_not_looked_for_among_all_floors(brand: Tenant, query: str) -> None:
    await brand.pool.execute(
        "INSERT INTO drips (brand_id, name, trigger) SELECT $1, n::text, 'manual' FROM generate_series(1, 1000) AS n",
        brand.id,
    )
    await brand.pool.execute("ANALYZE drips")
    floors = [await brand.pool.fetchval("SELECT array_agg(id) FROM drips"), [NOON] * 1000]
    given = [NOON, 0, _BATCH, *floors, None, None] if query == "advance" else floors
    explained = await brand.pool.fetchval(f"EXPLAIN (FORMAT JSON) {SQL[query]}", *given, *Share(part=0, of=2))
    assert _who_reads_floors(orjson.loads(explained)[0]["Plan"]) <= {"Hash", "Hash Join"}


def _who_reads_floors(node: dict[str, Any]) -> set[str]:
    inner = node.get("Plans", [])
    here = {
        node["Node Type"] for each in inner if each["Node Type"] == "Function Scan" and each["Alias"] == "f"
    }
    return here.union(*(_who_reads_floors(each) for each in inner))
