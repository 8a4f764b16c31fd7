"""What the release before has left open is known when its mailers are stopped and the database is migrated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from mailement_common.db.migrate import Migration, migrate, read_migrations
from mailement_newsletter.schema import MIGRATIONS
from tests.support.database import database_url, server_url

_MARKING = 18


@pytest.fixture
async def previous() -> AsyncIterator[asyncpg.Connection]:
    """A database as it is before doubts are marked."""
    name = f"test_{uuid4().hex}"
    server = await asyncpg.connect(server_url())
    await server.execute(f'CREATE DATABASE "{name}"')
    connection = await asyncpg.connect(database_url(name))
    await migrate(connection, _migrations()[: _MARKING - 1])
    yield connection
    await connection.close()
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await server.close()


def _migrations() -> list[Migration]:
    return read_migrations(MIGRATIONS)


async def _message(
    connection: asyncpg.Connection,
    state: str,
    *,
    provider: str = "resend",
    tries: int = 1,
    frozen: bool = True,
) -> int:
    found: int = await connection.fetchval(
        """INSERT INTO messages (brand_id, subscriber_id, kind, dedupe_key, state, provider, tries, payload)
        VALUES (1, 1, 'drip', gen_random_uuid(), $1, $2, $3, CASE WHEN $4 THEN '{}'::jsonb END) RETURNING id""",
        state,
        provider,
        tries,
        frozen,
    )
    return found


async def test_what_is_tried_again_under_a_key_may_have_arrived_and_nothing_else(
    previous: asyncpg.Connection,
) -> None:
    in_doubt = [
        await _message(previous, state, provider=provider)
        for state in ("queued", "claimed", "sending")
        for provider in ("resend", "file")
    ]
    await _message(previous, "queued", provider="smtp")
    await _message(previous, "queued", tries=0)
    await _message(previous, "queued", frozen=False)
    await _message(previous, "failed")

    await migrate(previous, _migrations())

    marked = await previous.fetch("SELECT id FROM messages WHERE may_have_arrived ORDER BY id")
    assert [row["id"] for row in marked] == in_doubt


async def test_doubts_are_looked_for_among_what_waits_alone(previous: asyncpg.Connection) -> None:
    await previous.execute(
        """INSERT INTO messages (brand_id, subscriber_id, kind, dedupe_key, state, provider, tries, payload)
        SELECT 1, n, 'drip', 'drip:' || n, 'sent', 'resend', 1, '{}' FROM generate_series(1, 20000) AS n"""
    )
    for state in ("queued", "claimed", "sending"):
        await _message(previous, state)
    await previous.execute("ANALYZE messages")
    marking = [
        statement for statement in _migrations()[_MARKING - 1].statements if "UPDATE messages" in statement
    ]
    assert len(marking) == 2
    for statement in marking:
        plan = await previous.fetchval(f"EXPLAIN (FORMAT JSON) {statement}")
        assert "Seq Scan" not in plan
