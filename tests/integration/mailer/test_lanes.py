"""Claims are fair, and cost what is taken: not what is stored, waits for its time, or stands in another's backlog."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest

from mailement_common.db.pool import Connection
from mailement_common.ids import BrandId
from mailement_newsletter.queries import lanes, messages
from mailement_newsletter.queries.lanes import MOST_BRANDS, MOST_LANES, Portion
from mailement_newsletter.rules.lanes import Lane, Progress, Waiting, deal
from mailement_newsletter.rules.senders import MailKind
from tests.support.database import Database
from tests.support.ledger import Ledger, new_ledger
from tests.support.mails import NOON

LEASE_END = NOON + timedelta(minutes=2)
TOKEN = "00000000-0000-0000-0000-000000000001"
NULL = "'{null}',"
MOMENT = f"'{NOON.isoformat()}'::timestamptz"


async def queue(
    pool: asyncpg.Pool,
    brand: int,
    mails: int,
    *,
    lane: int = 1,
    priority: int = 1,
    kind: str = "campaign",
    not_before: datetime = NOON,
) -> None:
    await pool.execute(
        """INSERT INTO messages (brand_id, subscriber_id, kind, lane, dedupe_key, priority, not_before, created_at)
        SELECT $1, n, $4, $3, concat_ws(':', $1::bigint, $3::bigint, $4::text, $5::int, $6::timestamptz, n), $5, $6, $6
        FROM generate_series(1, $2) AS n""",
        brand,
        mails,
        lane,
        kind,
        priority,
        not_before,
    )


@dataclass(slots=True)
class Turns:
    """Rounds of claims as the mailroom makes them, without the mail."""

    pool: asyncpg.Pool
    progress: Progress

    async def walk(self, room: int) -> list[Waiting]:
        return await lanes.waiting_lanes(
            self.pool,
            now=NOON,
            after=self.progress.after,
            lanes_after=self.progress.lanes_after,
            room=room,
        )

    async def round(self, room: int) -> dict[Lane, int]:
        walked = await self.walk(room)
        dealt = deal(walked, room)
        self.progress.advance(walked, passed=set(), dealt=dealt)
        portions = [Portion(lane=lane, mails=mails, lease_until=LEASE_END) for lane, mails in dealt.items()]
        await lanes.claim(self.pool, portions, now=NOON, lease_token=uuid4())
        return dealt


@pytest.fixture
def turns(database: Database) -> Turns:
    return Turns(pool=database.pool, progress=Progress(most_brands=MOST_BRANDS, most_lanes=MOST_LANES))


def brands_of(dealt: dict[Lane, int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for lane, mails in dealt.items():
        found[lane.brand_id] = found.get(lane.brand_id, 0) + mails
    return found


async def test_a_single_mail_is_in_the_first_claim_whatever_the_backlog_of_another_brand(
    turns: Turns,
) -> None:
    await queue(turns.pool, 1, 50_000, not_before=NOON - timedelta(hours=1))
    await queue(turns.pool, 2, 1, kind="drip")
    assert brands_of(await turns.round(64)) == {1: 63, 2: 1}


async def test_so_is_that_of_another_drip_of_the_same_brand(turns: Turns) -> None:
    await queue(turns.pool, 1, 50_000, not_before=NOON - timedelta(hours=1))
    await queue(turns.pool, 1, 1, kind="drip", lane=9)
    dealt = await turns.round(64)
    assert {(lane.kind, lane.id): mails for lane, mails in dealt.items()} == {
        ("campaign", 1): 63,
        ("drip", 9): 1,
    }


async def test_an_answer_goes_before_all_of_them(turns: Turns) -> None:
    await queue(turns.pool, 1, 1000)
    await queue(turns.pool, 1, 3, kind="transactional", lane=0, priority=0)
    await queue(turns.pool, 2, 3, kind="transactional", lane=0, priority=0)
    dealt = await turns.round(8)
    assert {(lane.priority, lane.brand_id): mails for lane, mails in dealt.items()} == {
        (0, 1): 3,
        (0, 2): 3,
        (1, 1): 2,
    }


async def test_more_brands_than_there_is_room_come_in_turn(turns: Turns) -> None:
    for brand in range(1, 8):
        await queue(turns.pool, brand, 10)
    rounds = [sorted(brands_of(await turns.round(3))) for _ in range(4)]
    assert rounds == [[1, 2, 3], [4, 5, 6], [1, 2, 7], [3, 4, 5]]


async def test_more_brands_than_one_walk_sees_come_in_turn(turns: Turns) -> None:
    await turns.pool.execute(
        """INSERT INTO messages (brand_id, subscriber_id, kind, dedupe_key, not_before, created_at)
        SELECT n, n, 'drip', 'k' || n, $1, $1 FROM generate_series(1, $2) AS n""",
        NOON,
        2 * MOST_BRANDS + 10,
    )
    served: list[int] = []
    for _ in range(3):
        served += brands_of(await turns.round(1000))
    assert sorted(served) == list(range(1, 2 * MOST_BRANDS + 11))


async def test_more_lanes_than_one_walk_sees_come_in_turn(turns: Turns) -> None:
    for lane in range(1, 2 * MOST_LANES + 4):
        await queue(turns.pool, 1, 1, lane=lane)
    served: list[int] = []
    for _ in range(3):
        served += [lane.id for lane in await turns.round(1000)]
    assert sorted(served) == list(range(1, 2 * MOST_LANES + 4))


async def test_lanes_of_all_kinds_are_walked_round_from_anywhere(turns: Turns) -> None:
    await queue(turns.pool, 1, 1, kind="campaign", lane=5)
    await queue(turns.pool, 1, 1, kind="drip", lane=3)
    await queue(turns.pool, 1, 1, kind="drip", lane=4)
    brand = BrandId(1)
    turns.progress.lanes_after[brand] = Lane(priority=1, brand_id=brand, kind=MailKind.DRIP, id=3)
    walked = [(each.lane.kind, each.lane.id) for each in await turns.walk(10)]
    assert walked == [("drip", 4), ("campaign", 5), ("drip", 3)]


async def test_what_is_not_due_is_seen_and_not_counted(turns: Turns) -> None:
    await queue(turns.pool, 1, 5, not_before=NOON + timedelta(seconds=1))
    await queue(turns.pool, 2, 5)
    walked = await turns.walk(100)
    assert [(each.lane.brand_id, each.due, each.has_more) for each in walked] == [
        (1, 0, False),
        (2, 5, False),
    ]


async def test_no_more_is_counted_than_could_be_taken(turns: Turns) -> None:
    await queue(turns.pool, 1, 500)
    await queue(turns.pool, 2, 500)
    assert [(each.due, each.has_more) for each in await turns.walk(40)] == [(20, True), (20, True)]


async def test_two_mailers_take_different_mails_of_a_lane(turns: Turns) -> None:
    await queue(turns.pool, 1, 10)
    lane = Lane(priority=1, brand_id=BrandId(1), kind=MailKind.CAMPAIGN, id=1)
    portion = Portion(lane=lane, mails=4, lease_until=LEASE_END)
    first = await lanes.claim(turns.pool, [portion], now=NOON, lease_token=uuid4())
    second = await lanes.claim(turns.pool, [portion], now=NOON, lease_token=uuid4())
    taken = [each.id for claims in (first, second) for each in claims.cancelled]
    assert len(taken) == len(set(taken)) == 8


@pytest.fixture
async def full(database: Database) -> Ledger:
    """120,000 rows: sent ones, a backlog, retries in the future, 200 leased, 60 brands with one mail each."""
    ledger = await new_ledger(database.pool)
    async with database.pool.acquire() as connection:
        await connection.execute(
            """INSERT INTO subscribers (brand_id, email, email_key, status)
            SELECT 1, n || '@example.org', n || '@example.org', 'confirmed' FROM generate_series(1, 20000) AS n"""
        )
        await connection.execute(
            """INSERT INTO messages (brand_id, subscriber_id, kind, lane, drip_id, drip_step_id, dedupe_key, state, priority,
                not_before, lease_token, lease_until, batch_id, batch_position, provider, first_attempt_at, created_at,
                attempts)
            SELECT CASE WHEN n > 119940 THEN n ELSE 1 + n % 2 END, 1 + n % 20000, 'drip', 1, 1, 1, 'k' || n,
                CASE WHEN n <= 50000 THEN 'sent' WHEN n BETWEEN 110001 AND 110200 THEN 'sending' ELSE 'queued' END,
                1,
                CASE WHEN n BETWEEN 50001 AND 80000 THEN '2026-03-02'::timestamptz ELSE '2026-03-01'::timestamptz END,
                CASE WHEN n BETWEEN 110001 AND 110200 THEN gen_random_uuid() END,
                CASE WHEN n BETWEEN 110001 AND 110200 THEN '2026-03-01'::timestamptz END,
                CASE WHEN n BETWEEN 110001 AND 110100 THEN '00000000-0000-0000-0000-000000000002'::uuid END,
                CASE WHEN n BETWEEN 110001 AND 110100 THEN n - 110000 END,
                'resend', '2026-03-01', '2026-03-01', CASE WHEN n BETWEEN 110001 AND 110200 THEN 1 ELSE 0 END
            FROM generate_series(1, 120000) AS n"""
        )
        await connection.execute("VACUUM ANALYZE messages")
        await connection.execute("VACUUM ANALYZE subscribers")
    return ledger


WALK = (lanes.SQL["waiting_lanes"], f"{MOMENT}, 0, 100, 16, 64, '{{}}', '{{}}', '{{}}'")
CLAIM = (
    lanes.SQL["claim"],
    f"{MOMENT}, '{TOKEN}', '{{1}}', '{{1}}', '{{drip}}', '{{1}}', '{{32}}', array[{MOMENT}]",
)
BATCHES = (
    lanes.SQL["claim_batches"],
    f"{MOMENT}, '{TOKEN}', {MOMENT}, '{{resend}}', array['1 hour'::interval], 'resend', 8, 4, '{{}}'",
)
EXPIRE = (messages.SQL["expire"], f"{MOMENT}, 100, '{{resend}}', array['1 hour'::interval], 'resend', 8")
START = (
    messages.SQL["start"],
    f"{MOMENT}, '{{1}}', '{{{TOKEN}}}', array['{{}}']::jsonb[], '{{1}}', '{{smtp}}', {4 * NULL} {MOMENT}",
)
RECORD = (
    messages.SQL["record"],
    f"'{{1}}', '{{{TOKEN}}}', '{{sent}}', '{{1}}', '{{1}}', {4 * NULL} '{{f}}', '{{f}}', '{{sent}}', {2 * NULL} '{{1}}'",
)
REOPEN = (messages.SQL["reopen"], f"'{{1}}', '{{{TOKEN}}}'")
RENEW = (messages.SQL["renew"], f"'{{1}}', '{{{TOKEN}}}', {MOMENT}")
RELEASE = (messages.SQL["release"], f"'{{1}}', '{{{TOKEN}}}', null")
POSTPONE = (messages.SQL["postpone_batches"], f"'{{1}}', '{{{TOKEN}}}', {MOMENT}")


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "not analyzed"])
@pytest.mark.parametrize(
    ("query", "most_pages"),
    [
        pytest.param(WALK, 1200, id="walk"),
        pytest.param(CLAIM, 3500, id="claim"),
        pytest.param(BATCHES, 6000, id="claim batches"),
        pytest.param(EXPIRE, 6000, id="expire"),
        pytest.param(START, 200, id="start"),
        pytest.param(RECORD, 200, id="record"),
        pytest.param(REOPEN, 200, id="reopen"),
        pytest.param(RENEW, 200, id="renew"),
        pytest.param(RELEASE, 200, id="release"),
        pytest.param(POSTPONE, 200, id="postpone batches"),
    ],
)
async def test_every_statement_of_the_mailroom_touches_what_it_takes(
    full: Ledger, query: tuple[str, str], most_pages: int, analyzed: bool
) -> None:
    async with full.pool.acquire() as connection:
        if not analyzed:
            await connection.execute(
                "DELETE FROM pg_statistic WHERE starelid IN ('messages'::regclass, 'subscribers'::regclass)"
            )
        plan, pages = await explained(connection, query)
    whole = {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
    assert not whole & {"messages", "subscribers"}
    assert pages < most_pages


async def explained(connection: Connection, query: tuple[str, str]) -> tuple[dict[str, Any], int]:
    """The plan of a query, run and undone, and how many pages it touched."""
    text, values = query
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("SET LOCAL plan_cache_mode = 'force_custom_plan'")
        await connection.execute(f"PREPARE asked AS {text}")
        document = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked ({values})"
        )
        await connection.execute("DEALLOCATE asked")
    finally:
        await transaction.rollback()
    plan: dict[str, Any] = orjson.loads(document)[0]["Plan"]
    return plan, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]
