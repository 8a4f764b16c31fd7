"""What has to be done once in a while, by whichever replica comes first."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from mailement_common.db.partitions import keep_partitions
from mailement_common.supervise import keep_running, wait_for

_PAUSE_SECONDS: Final = 3600


async def keep_house(pool: asyncpg.Pool, stop: asyncio.Event, *, keep_days: int) -> None:
    """Keeps the event log's partitions, every hour until `stop`."""

    async def rounds() -> None:
        while not stop.is_set():
            async with pool.acquire() as connection:
                await keep_partitions(connection, keep_days=keep_days)
            await wait_for(stop, _PAUSE_SECONDS)

    await keep_running("housekeeping", rounds, stop)
