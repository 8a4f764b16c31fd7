"""The database's time, for work that several hosts share: their own clocks may disagree."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from mailement_common.clock import SystemClock
from mailement_common.supervise import wait_for

_SYNC_SECONDS: Final = 30


class DatabaseClock:
    """A Clock. Before the first `sync` it is the machine's own."""

    def __init__(self) -> None:
        self._machine = SystemClock()
        self._ahead = timedelta()

    def now(self) -> datetime:
        return self._machine.now() + self._ahead

    async def sync(self, pool: asyncpg.Pool) -> None:
        """Learns how far the database is ahead of this machine; off by at most the round trip."""
        there: datetime = await pool.fetchval("SELECT clock_timestamp()")
        self._ahead = there - self._machine.now()

    async def keep_in_sync(self, pool: asyncpg.Pool, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.sync(pool)
            await wait_for(stop, _SYNC_SECONDS)
