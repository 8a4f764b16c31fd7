"""The event log's partitions, a day each: made ahead of time, dropped by age. Nothing is ever deleted in bulk.

Whoever relays keeps the log, because whoever relays writes it.
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.logs import logger
from mailement_common.supervise import wait_for

SQL: Final = queries_beside(__file__)

_TABLE: Final = "event_log"
_DEFAULT: Final = "event_log_default"
_DAYS_AHEAD: Final = 7
_PAUSE_SECONDS: Final = 3600
# "partition" in ASCII, cut to a bigint: one process at a time keeps house.
_LOCK: Final = 0x7061727469746E73

log = logger(__name__)


async def keep_event_log(pool: asyncpg.Pool, stop: asyncio.Event, *, keep_days: int) -> None:
    """Makes what is to come and drops what is older than `keep_days`, every hour until `stop`."""
    while not stop.is_set():
        async with pool.acquire() as connection:
            await make_partitions(connection)
            await drop_partitions(connection, keep_days=keep_days)
        await wait_for(stop, _PAUSE_SECONDS)


async def make_partitions(connection: Connection) -> None:
    """The partitions of the coming week. A table that is busy, or another process at it, means: next time."""
    try:
        async with connection.transaction():
            if await _take_turn(connection):
                await _make_week(connection)
    except asyncpg.LockNotAvailableError:
        log.info("partition.busy", table=_TABLE)


async def drop_partitions(connection: Connection, *, keep_days: int) -> None:
    """Those older than `keep_days`."""
    try:
        async with connection.transaction():
            if await _take_turn(connection):
                await _drop_old(connection, keep_days)
    except asyncpg.LockNotAvailableError:
        log.info("partition.busy", table=_TABLE)


async def _take_turn(connection: Connection) -> bool:
    await connection.execute("SET LOCAL lock_timeout = '2s'")
    taken: bool = await connection.fetchval(SQL["take_turn"], _LOCK)
    return taken


async def _make_week(connection: Connection) -> None:
    today: date = await connection.fetchval(SQL["today"])
    late = [row["day"] for row in await connection.fetch(SQL["days_in_default"])]
    if late:
        # Rows of a day in the default partition forbid that day's own, so they have to move out first.
        await connection.execute(f"ALTER TABLE {_TABLE} DETACH PARTITION {_DEFAULT}")
    standing = await _standing(connection)
    for day in sorted({*late, *(today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD))}):
        if _name(day) not in standing:
            until = day + timedelta(days=1)
            await connection.execute(
                f"CREATE TABLE {_name(day)} PARTITION OF {_TABLE} FOR VALUES FROM ('{day}') TO ('{until}')"
            )
    if late:
        await connection.execute(SQL["move_in"])
        await connection.execute(f"TRUNCATE {_DEFAULT}")
        await connection.execute(f"ALTER TABLE {_TABLE} ATTACH PARTITION {_DEFAULT} DEFAULT")
        log.warning("partition.late", days=[day.isoformat() for day in late])


async def _drop_old(connection: Connection, keep_days: int) -> None:
    today: date = await connection.fetchval(SQL["today"])
    oldest = _name(today - timedelta(days=keep_days))
    for name in await _standing(connection):
        if name != _DEFAULT and name < oldest:
            await connection.execute(f'DROP TABLE "{name}"')
            log.info("partition.dropped", partition=name)


async def _standing(connection: Connection) -> set[str]:
    return {row["name"] for row in await connection.fetch(SQL["partitions"], _TABLE)}


def _name(day: date) -> str:
    return f"{_TABLE}_{day:%Y%m%d}"
