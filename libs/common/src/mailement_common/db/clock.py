"""The database's time, for work that several hosts share: their own clocks may disagree."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from mailement_common.clock import SystemClock
from mailement_common.supervise import wait_for

_SYNC_SECONDS: Final = 30
_QUESTIONS: Final = 5


class Asked(Protocol):
    """A pool or a connection."""

    async def fetchval(self, query: str, /) -> Any: ...  # noqa: ANN401  as asyncpg has it


class DatabaseClock:
    """A Clock. Before the first `sync` it is the machine's own."""

    def __init__(self) -> None:
        self._machine = SystemClock()
        self._ahead = timedelta()

    def now(self) -> datetime:
        return self._machine.now() + self._ahead

    async def sync(self, pool: Asked) -> None:
        """Learns how far the database is ahead of this machine, from the quickest of some answers; off by at most half of
        its round trip. A clock that is late by more would find nothing due of what was just queued.
        """
        answers = [await self._ask(pool) for _ in range(_QUESTIONS)]
        _, self._ahead = min(answers)

    async def _ask(self, pool: Asked) -> tuple[float, timedelta]:
        """Seconds of a round trip, and how far the database is ahead if it answered in the middle of it."""
        asked, started = self._machine.now(), time.monotonic()
        there: datetime = await pool.fetchval("SELECT clock_timestamp()")
        seconds = time.monotonic() - started
        return seconds, there - asked - timedelta(seconds=seconds / 2)

    async def keep_in_sync(self, pool: Asked, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.sync(pool)
            await wait_for(stop, _SYNC_SECONDS)
