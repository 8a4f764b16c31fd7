from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from mailement_newsletter.queries import messages
from mailement_newsletter.queries.messages import Claimed, Departure, Expired, Fate, MessageState
from tests.support.database import Database
from tests.support.ledger import Ledger, new_ledger
from tests.support.mails import NOON

LEASE_END = NOON + timedelta(minutes=2)
HOUR = timedelta(hours=1)


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await new_ledger(database.pool)


async def claim_one(ledger: Ledger) -> Claimed:
    claims = await messages.claim(ledger.pool, now=NOON, lease_until=LEASE_END, lease_token=uuid4(), limit=10)
    (claimed,) = claims.claimed
    return claimed


async def start_one(ledger: Ledger, claimed: Claimed, *, provider: str = "resend") -> bool:
    departure = Departure(
        id=claimed.id, lease_token=claimed.lease_token, payload={"a": 1}, attempt=claimed.attempts + 1
    )
    started = await messages.start(
        ledger.pool, [departure], provider=provider, now=NOON, lease_until=LEASE_END
    )
    return claimed.id in started


async def expire(
    ledger: Ledger, *, after: timedelta = timedelta(0), keeps_keys: timedelta = HOUR, provider: str = "resend"
) -> list[Expired]:
    return await messages.expire(
        ledger.pool,
        now=LEASE_END + after,
        provider=provider,
        idempotent_for=keeps_keys,
        max_attempts=8,
        limit=100,
    )


async def test_a_claim_locks_nothing_out_and_takes_nothing_twice(ledger: Ledger) -> None:
    await ledger.messages(5)

    async def ids(limit: int) -> set[int]:
        claims = await messages.claim(
            ledger.pool, now=NOON, lease_until=LEASE_END, lease_token=uuid4(), limit=limit
        )
        return {message.id for message in claims.claimed}

    first, second, third = await ids(2), await ids(10), await ids(10)
    assert (len(first), len(second), len(third)) == (2, 3, 0)
    assert first.isdisjoint(second)


async def test_a_row_that_another_mailer_holds_is_skipped(ledger: Ledger) -> None:
    held, free = await ledger.messages(2)
    async with ledger.pool.acquire() as other, other.transaction():
        await other.execute("SELECT id FROM messages WHERE id = $1 FOR UPDATE", held)
        assert (await claim_one(ledger)).id == free


async def test_starting_freezes_once(ledger: Ledger) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    assert await start_one(ledger, claimed)
    again = Departure(id=claimed.id, lease_token=claimed.lease_token, payload={"other": 2}, attempt=1)
    await messages.start(ledger.pool, [again], provider="resend", now=NOON, lease_until=LEASE_END)
    row = await ledger.row(claimed.id)
    assert (row["payload"], row["attempts"], row["state"]) == ({"a": 1}, 1, "sending")


async def test_nothing_starts_on_a_lease_that_is_over_or_not_ours(ledger: Ledger) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    late = Departure(id=claimed.id, lease_token=claimed.lease_token, payload={}, attempt=1)
    foreign = Departure(id=claimed.id, lease_token=UUID(int=9), payload={}, attempt=1)
    assert not await messages.start(
        ledger.pool, [late], provider="smtp", now=LEASE_END, lease_until=LEASE_END + HOUR
    )
    assert not await messages.start(ledger.pool, [foreign], provider="smtp", now=NOON, lease_until=LEASE_END)


async def test_an_outcome_under_a_foreign_lease_is_refused(ledger: Ledger) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    await start_one(ledger, claimed)
    fate = Fate(
        id=claimed.id, lease_token=UUID(int=9), state=MessageState.FAILED, attempts=1, finished_at=NOON
    )
    assert await messages.record(ledger.pool, [fate]) == set()
    assert await ledger.state(claimed.id) == "sending"


async def test_a_claim_that_fell_silent_goes_back_whatever_the_provider(ledger: Ledger) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    (expired,) = await expire(ledger, keeps_keys=timedelta(0), provider="smtp")
    row = await ledger.row(claimed.id)
    assert (expired.state, row["state"], row["attempts"], row["lease_token"]) == ("queued", "queued", 0, None)


async def test_a_lease_that_still_runs_is_left_alone(ledger: Ledger) -> None:
    await ledger.messages(1)
    await claim_one(ledger)
    assert await expire(ledger, after=-timedelta(microseconds=1)) == []


@pytest.mark.parametrize(
    ("started_with", "swept_by", "after", "keeps_keys", "state"),
    [
        ("resend", "resend", timedelta(0), HOUR, "queued"),
        ("resend", "resend", 2 * HOUR, HOUR, "uncertain"),
        ("resend", "smtp", timedelta(0), timedelta(0), "uncertain"),
        ("smtp", "resend", timedelta(0), HOUR, "uncertain"),
        ("smtp", "smtp", timedelta(0), timedelta(0), "uncertain"),
    ],
)
async def test_what_fell_silent_on_the_wire_is_repeated_only_where_the_key_is_known(
    ledger: Ledger, started_with: str, swept_by: str, after: timedelta, keeps_keys: timedelta, state: str
) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    await start_one(ledger, claimed, provider=started_with)
    (expired,) = await expire(ledger, after=after, keeps_keys=keeps_keys, provider=swept_by)
    row = await ledger.row(claimed.id)
    assert (expired.state, row["state"], row["lease_token"]) == (state, state, None)
    assert (row["finished_at"] is None) == (state == "queued")


async def test_what_makes_mailers_fall_silent_again_and_again_comes_to_an_end(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    await ledger.pool.execute("UPDATE messages SET attempts = 7 WHERE id = $1", message)
    await start_one(ledger, await claim_one(ledger))
    (expired,) = await expire(ledger)
    assert expired.state is MessageState.UNCERTAIN


@pytest.fixture
async def full(database: Database) -> Ledger:
    """60,000 rows: 30,000 sent, 24,000 that wait for a retry in the future, 5,900 due, 100 leased."""
    ledger = await new_ledger(database.pool)
    async with database.pool.acquire() as connection:
        await connection.execute(
            """INSERT INTO subscribers (brand_id, email, email_key, status)
            SELECT 1, n || '@example.org', n || '@example.org', 'confirmed' FROM generate_series(1, 20000) AS n"""
        )
        await connection.execute(
            """INSERT INTO messages (brand_id, subscriber_id, kind, drip_step_id, dedupe_key, state, priority, not_before,
                lease_token, lease_until, created_at)
            SELECT 1, 1 + n % 20000, 'drip', 1, 'k' || n,
                CASE WHEN n <= 30000 THEN 'sent' WHEN n <= 59900 THEN 'queued' ELSE 'sending' END,
                n % 2,
                CASE WHEN n <= 54000 THEN '2026-03-02'::timestamptz ELSE '2026-03-01'::timestamptz END,
                CASE WHEN n > 59900 THEN gen_random_uuid() END,
                CASE WHEN n > 59900 THEN '2026-03-01'::timestamptz END,
                '2026-03-01'
            FROM generate_series(1, 60000) AS n"""
        )
        await connection.execute("VACUUM ANALYZE messages")
        await connection.execute("VACUUM ANALYZE subscribers")
    return ledger


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_the_claim_costs_what_is_due_and_not_what_is_stored(full: Ledger, mode: str) -> None:
    plan, pages = await _explain(
        full,
        mode,
        "claim",
        "timestamptz, bigint, uuid, timestamptz",
        f"'{NOON.isoformat()}', 32, '{uuid4()}', '{LEASE_END.isoformat()}'",
    )
    scans = _scans(plan)
    assert ("Seq Scan", "messages") not in scans
    assert ("Seq Scan", "subscribers") not in scans
    assert "messages_ready" in _indexes(plan)
    assert pages < 3000, f"{pages} pages for 32 messages"


async def test_a_claim_with_nothing_due_walks_over_no_waiting_retry(full: Ledger) -> None:
    await full.pool.execute("UPDATE messages SET state = 'sent' WHERE not_before < $1", NOON)
    await full.pool.execute("VACUUM messages")
    _, pages = await _explain(
        full,
        "auto",
        "claim",
        "timestamptz, bigint, uuid, timestamptz",
        f"'{NOON.isoformat()}', 32, '{uuid4()}', '{LEASE_END.isoformat()}'",
    )
    assert pages < 60, f"{pages} pages to find nothing"


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_the_sweep_reads_the_leased_alone(full: Ledger, mode: str) -> None:
    plan, _ = await _explain(
        full,
        mode,
        "expire",
        "timestamptz, bigint, text, interval, int",
        f"'{NOON.isoformat()}', 500, 'smtp', '0', 8",
    )
    assert ("Seq Scan", "messages") not in _scans(plan)
    assert "messages_leased" in _indexes(plan)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize(
    ("query", "types", "values"),
    [
        (
            "start",
            "bigint[], uuid[], jsonb[], int[], text, timestamptz, timestamptz",
            "'{1}', '{00000000-0000-0000-0000-000000000001}', array['{}']::jsonb[], '{1}', 'smtp', '2026-03-01', '2026-03-01'",
        ),
        (
            "record",
            "bigint[], uuid[], text[], int[], timestamptz[], text[], text[], timestamptz[]",
            "'{1}', '{00000000-0000-0000-0000-000000000001}', '{sent}', '{1}', '{null}', '{null}', '{null}', '{null}'",
        ),
        ("release", "bigint[], uuid[]", "'{1}', '{00000000-0000-0000-0000-000000000001}'"),
    ],
)
async def test_what_is_known_by_its_id_is_found_by_its_id(
    full: Ledger, mode: str, query: str, types: str, values: str
) -> None:
    plan, pages = await _explain(full, mode, query, types, values)
    assert ("Seq Scan", "messages") not in _scans(plan)
    assert pages < 200


async def _explain(
    ledger: Ledger, mode: str, query: str, types: str, values: str
) -> tuple[dict[str, Any], int]:
    """The plan of one named query, run and undone, and how many pages it touched."""
    async with ledger.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
            await connection.execute(f"PREPARE asked ({types}) AS {messages.SQL[query]}")
            explained = await connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked ({values})"
            )
            await connection.execute("DEALLOCATE asked")
        finally:
            await transaction.rollback()
    (whole,) = orjson.loads(explained)
    plan: dict[str, Any] = whole["Plan"]
    return plan, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


def _scans(plan: dict[str, Any]) -> set[tuple[str, str]]:
    return {(node["Node Type"], node["Relation Name"]) for node in _nodes(plan) if "Relation Name" in node}


def _indexes(plan: dict[str, Any]) -> set[str]:
    return {node["Index Name"] for node in _nodes(plan) if "Index Name" in node}


async def test_every_query_can_be_prepared(database: Database) -> None:
    async with database.pool.acquire() as connection:
        for name, query in messages.SQL.items():
            try:
                await connection.prepare(query)
            except asyncpg.PostgresError as error:
                raise AssertionError(f"{name}: {error}") from error
