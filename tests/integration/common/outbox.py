"""An outbox to fill, and relays that run for the length of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg

from mailement_common.events.envelope import Envelope
from mailement_common.outbox.relay import Relay
from mailement_common.settings import BrokerSettings

_DEADLINE_SECONDS = 20


async def write(pool: asyncpg.Pool, events: Sequence[Envelope]) -> None:
    await pool.executemany(
        "INSERT INTO outbox (event_id, type, brand_id, data, traceparent, occurred_at) VALUES ($1, $2, $3, $4, $5, $6)",
        [
            (event.id, event.type, event.brand_id, event.data, event.traceparent, event.occurred_at)
            for event in events
        ],
    )


async def left(pool: asyncpg.Pool) -> int:
    """How many events the outbox still has."""
    count: int = await pool.fetchval("SELECT count(*) FROM outbox")
    return count


async def until(holds: Callable[[], Awaitable[bool]], *, what: str) -> None:
    """Asks until it holds."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"did not happen in time: {what}") from None


async def until_empty(pool: asyncpg.Pool) -> None:
    async def empty() -> bool:
        return not await left(pool)

    await until(empty, what="the outbox is empty")


@asynccontextmanager
async def relaying(pool: asyncpg.Pool, settings: BrokerSettings) -> AsyncIterator[Relay]:
    relay, stop = Relay(pool, settings, name="test"), asyncio.Event()
    running = asyncio.create_task(relay.run(stop))
    try:
        yield relay
    finally:
        stop.set()
        async with asyncio.timeout(_DEADLINE_SECONDS):
            await running
