"""Keep the history of mails' attempts: months are made ahead of time and dropped by age."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from mailement_common.db.partitions import Family, Period, drop_partitions, make_partitions
from mailement_common.supervise import wait_for

ATTEMPTS: Final = Family(table="message_attempts", column="started_at", period=Period.MONTH, ahead=2)

_PAUSE_SECONDS: Final = 3600


async def keep_mail_history(pool: asyncpg.Pool, stop: asyncio.Event, *, days: int) -> None:
    """Every hour until `stop`. A month goes when its every day is older than `days`."""
    while not stop.is_set():
        async with pool.acquire() as connection:
            await make_partitions(connection, ATTEMPTS)
            await drop_partitions(connection, ATTEMPTS, keep_days=days)
        await wait_for(stop, _PAUSE_SECONDS)
