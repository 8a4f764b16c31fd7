"""What the previous release left is neither lost nor made twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from mailement_common.db.migrate import migrate, read_migrations
from mailement_newsletter.schema import MIGRATIONS
from mailement_webhooks.usecases.adopt_previous import adopt_previous
from tests.support.database import database_url, server_url
from tests.support.delivery_ledger import DeliveryLedger


async def _event(pool: asyncpg.Pool | asyncpg.Connection, *, at: str = "now()") -> UUID:
    """As the previous release stores one."""
    event = uuid4()
    await pool.execute(
        "INSERT INTO webhook_events (event_id, profile, brand_id, type, body, occurred_at) "
        f"VALUES ($1, 'mailement', 1, 'subscriber.confirmed', '\\x7b7d', {at})",
        event,
    )
    return event


async def _delivery(
    pool: asyncpg.Pool | asyncpg.Connection, event: UUID, endpoint: int, *, state: str = "pending"
) -> int:
    made: int = await pool.fetchval(
        "INSERT INTO webhook_deliveries (event_id, endpoint_id, brand_id, state, attempts, lease_until, reason, "
        "finished_at, traceparent) VALUES ($1, $2, 1, $3, 1, now() - interval '6 s', "
        "CASE $3 WHEN 'failed' THEN 'http_5xx' END, now(), '00-trace') RETURNING id",
        event,
        endpoint,
        state,
    )
    return made


async def _adopt(ledger: DeliveryLedger, limit: int = 100) -> int:
    async with ledger.pool.acquire() as connection:
        return await adopt_previous(connection, limit)


async def test_what_waits_is_taken_over_in_chunks_and_in_order(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    events = [await _event(ledger.pool) for _ in range(5)]
    for event in events:
        await _delivery(ledger.pool, event, endpoint)

    assert [await _adopt(ledger, 2) for _ in range(4)] == [2, 2, 1, 0]

    assert await ledger.sequences() == {endpoint: [1, 2, 3, 4, 5]}
    assert [row["event_id"] for row in await ledger.deliveries()] == events
    claimed = (await ledger.claim()).deliveries
    assert {(delivery.attempt, delivery.body, delivery.traceparent) for delivery in claimed} == {
        (1, b"{}", "00-trace")
    }
    assert await ledger.pool.fetchval("SELECT count(*) FROM webhook_deliveries") == 0


async def test_deliveries_of_one_event_may_come_in_different_chunks(ledger: DeliveryLedger) -> None:
    endpoints = [await ledger.endpoint() for _ in range(3)]
    event = await _event(ledger.pool)
    for endpoint in endpoints:
        await _delivery(ledger.pool, event, endpoint)

    for _ in endpoints:
        await _adopt(ledger, 1)

    assert await ledger.sequences() == {endpoint: [1] for endpoint in endpoints}


async def test_what_a_copy_of_the_event_has_made_already_is_not_made_again(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    event = ledger.event()
    await ledger.happen(event)
    await ledger.pool.execute(
        "INSERT INTO webhook_events (event_id, profile, brand_id, type, body, occurred_at) "
        "VALUES ($1, 'mailement', $2, $3, $4, $5)",
        event.id,
        event.brand_id,
        event.type,
        event.body,
        event.occurred_at,
    )
    await _delivery(ledger.pool, event.id, endpoint)

    assert await _adopt(ledger) == 1

    assert await ledger.sequences() == {endpoint: [1]}
    await ledger.happens(1)
    assert await ledger.sequences() == {endpoint: [1, 2]}


async def test_a_copy_of_what_was_taken_over_makes_nothing(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    event = ledger.event()
    await ledger.pool.execute(
        "INSERT INTO webhook_events (event_id, profile, brand_id, type, body, occurred_at) "
        "VALUES ($1, 'mailement', $2, $3, $4, $5)",
        event.id,
        event.brand_id,
        event.type,
        event.body,
        event.occurred_at,
    )
    await _delivery(ledger.pool, event.id, endpoint)
    await _adopt(ledger)

    assert (await ledger.happen(event)).deliveries == 0


async def test_leases_that_hold_are_left_to_whoever_has_them(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    held = await _delivery(ledger.pool, await _event(ledger.pool), endpoint, state="leased")
    expired = await _event(ledger.pool)
    await _delivery(ledger.pool, expired, endpoint, state="leased")
    await ledger.pool.execute(
        "UPDATE webhook_deliveries SET lease_until = now() - interval '3 s' WHERE id = $1", held
    )

    assert await _adopt(ledger) == 1

    assert [row["id"] for row in await ledger.pool.fetch("SELECT id FROM webhook_deliveries")] == [held]
    assert [row["event_id"] for row in await ledger.deliveries()] == [expired]


async def test_what_waits_for_a_deleted_endpoint_is_written_down_as_discarded(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    await _delivery(ledger.pool, await _event(ledger.pool), endpoint)
    await ledger.pool.execute("UPDATE webhook_endpoints SET state = 'deleted'")

    await _adopt(ledger)

    (row,) = await ledger.deliveries()
    assert (row["state"], row["reason"]) == ("discarded", "endpoint_deleted")
    assert await ledger.queued() == []


@pytest.fixture
async def previous() -> AsyncIterator[asyncpg.Connection]:
    """A database that the previous release has worked in."""
    name = f"test_{uuid4().hex}"
    server = await asyncpg.connect(server_url())
    await server.execute(f'CREATE DATABASE "{name}"')
    connection = await asyncpg.connect(database_url(name))
    try:
        await migrate(connection, read_migrations(MIGRATIONS)[:7])
        await connection.execute(
            "INSERT INTO accounts (slug, name) VALUES ('a', 'a'); "
            "INSERT INTO brands (account_id, slug, name, opt_in_mode) VALUES (1, 'b', 'b', 'single'); "
            "INSERT INTO webhook_endpoints (account_id, brand_id, url, secret_sealed, event_types) "
            "SELECT 1, 1, 'http://192.0.2.1/', 'sealed', '{subscriber.confirmed}' FROM generate_series(1, 2)"
        )
        yield connection
    finally:
        await connection.close()
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()


async def test_the_migration_copies_what_is_finished(previous: asyncpg.Connection) -> None:
    old = await _event(previous, at="now() - interval '70 days'")
    new = await _event(previous)
    delivered = await _delivery(previous, old, 1, state="delivered")
    failed = await _delivery(previous, new, 1, state="failed")
    waiting = await _delivery(previous, new, 2)
    for delivery, outcome in ((delivered, "delivered"), (failed, "failed")):
        await previous.execute(
            "INSERT INTO webhook_attempts (delivery_id, number, outcome, status_code, started_at, duration_ms) "
            "VALUES ($1, 1, $2, 200, now(), 12)",
            delivery,
            outcome,
        )

    await migrate(previous, read_migrations(MIGRATIONS))

    rows = await previous.fetch(
        "SELECT id, endpoint_id, sequence, state, reason, attempts, tableoid::regclass::text AS partition "
        "FROM deliveries ORDER BY id"
    )
    assert [tuple(row)[:6] for row in rows] == [
        (delivered, 1, 1, "delivered", None, 1),
        (failed, 1, 2, "failed", "http_5xx", 1),
    ]
    assert "deliveries_default" not in {row["partition"] for row in rows}
    attempts = await previous.fetch("SELECT delivery_id, number, outcome, duration_ms FROM delivery_attempts")
    assert {tuple(row) for row in attempts} == {(delivered, 1, "delivered", 12), (failed, 1, "failed", 12)}
    assert await previous.fetchval("SELECT count(*) FROM delivery_payloads") == 2
    assert await previous.fetchval("SELECT retries FROM webhook_endpoints WHERE id = 1") == "once"

    assert await adopt_previous(previous, 10) == 1
    taken = await previous.fetchrow(
        "SELECT id, endpoint_id, sequence FROM deliveries WHERE state = 'pending'"
    )
    assert taken is not None
    assert (taken["endpoint_id"], taken["sequence"]) == (2, 1)
    assert taken["id"] > waiting
