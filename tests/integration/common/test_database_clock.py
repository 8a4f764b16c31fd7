"""The database's time: how well it is known."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from mailement_common.db.clock import DatabaseClock
from tests.support.database import Database

_CLOSE = timedelta(milliseconds=20)


class _SometimesLate:
    """Answers, of which the first and the last are heard late, as by a process that is busy."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._asked = 0

    async def fetchval(self, query: str, /) -> Any:
        self._asked += 1
        answer = await self._pool.fetchval(query)
        if self._asked in (1, 5):
            await asyncio.sleep(0.2)
        return answer


async def test_an_answer_that_is_heard_late_sets_no_clock_back(database: Database) -> None:
    clock = DatabaseClock()
    await clock.sync(_SometimesLate(database.pool))
    before: datetime = await database.pool.fetchval("SELECT clock_timestamp()")
    now = clock.now()
    after: datetime = await database.pool.fetchval("SELECT clock_timestamp()")
    assert before - _CLOSE <= now <= after + _CLOSE
