"""Fold tallies: counts are appended by those who count, and added up here."""

from __future__ import annotations

from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside

SQL: Final = queries_beside(__file__)

# "tallies" in ASCII.
_LOCK: Final = 0x74616C6C696573


async def fold_tallies(pool: asyncpg.Pool, *, limit: int) -> bool:
    """At most `limit` rows become a few; the sums stay the same at every moment. True: there are more, or may be."""
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(SQL["take_turn"], _LOCK):
            return False
        appended: int = await connection.fetchval(SQL["fold"], limit)
    return appended >= limit


async def alone_with_tallies(connection: Connection) -> None:
    """Until the transaction ends nobody else puts other rows in place of those that stand."""
    await connection.execute(SQL["await_turn"], _LOCK)
