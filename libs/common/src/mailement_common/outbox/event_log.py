"""The event log's partitions, a day each.

Whoever relays keeps the log, because whoever relays writes it.
"""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from mailement_common.db import partitions
from mailement_common.db.partitions import Family, Period
from mailement_common.db.pool import Connection
from mailement_common.supervise import wait_for

EVENT_LOG: Final = Family(table="event_log", column="published_at", period=Period.DAY, ahead=7)

_PAUSE_SECONDS: Final = 3600


async def keep_event_log(pool: asyncpg.Pool, stop: asyncio.Event, *, keep_days: int) -> None:
    """Makes what is to come and drops what is older than `keep_days`, every hour until `stop`."""
    while not stop.is_set():
        async with pool.acquire() as connection:
            await make_partitions(connection)
            await drop_partitions(connection, keep_days=keep_days)
        await wait_for(stop, _PAUSE_SECONDS)


async def make_partitions(connection: Connection) -> None:
    """The partitions of the coming week, unless somebody else is at it."""
    await partitions.make_partitions(connection, EVENT_LOG)


async def drop_partitions(connection: Connection, *, keep_days: int) -> None:
    """Those older than `keep_days`, unless somebody else is at it."""
    await partitions.drop_partitions(connection, EVENT_LOG, keep_days=keep_days)
