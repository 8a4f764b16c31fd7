"""Partitions of the event log, a day each: made ahead of time, dropped by age. Nothing is ever deleted in bulk."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.logs import logger

SQL: Final = queries_beside(__file__)

_TABLE: Final = "event_log"
_DAYS_AHEAD: Final = 7
# "partition" in ASCII, cut to a bigint: one process at a time keeps house.
_LOCK: Final = 0x7061727469746E73

log = logger(__name__)


async def keep_partitions(connection: Connection, *, keep_days: int = 14) -> None:
    """Makes the partitions of the coming week and drops those older than `keep_days`.

    A lock that cannot be had at once means that somebody else is at it, or that the table is busy: next time.
    """
    try:
        async with connection.transaction():
            await _keep(connection, keep_days)
    except asyncpg.LockNotAvailableError:
        log.info("partition.busy", table=_TABLE)


async def _keep(connection: Connection, keep_days: int) -> None:
    if not await connection.fetchval(SQL["take_turn"], _LOCK):
        return
    today: date = await connection.fetchval(SQL["today"])
    standing = {row["name"] for row in await connection.fetch(SQL["partitions"], _TABLE)}
    wanted = {
        _name(today + timedelta(days=ahead)): today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD)
    }
    await connection.execute("SET LOCAL lock_timeout = '2s'")
    for name, day in wanted.items():
        if name not in standing:
            await _make(connection, name, day)
    oldest = _name(today - timedelta(days=keep_days))
    for name in standing:
        if name.startswith(f"{_TABLE}_2") and name < oldest:
            await connection.execute(f'DROP TABLE "{name}"')
            log.info("partition.dropped", partition=name)


async def _make(connection: Connection, name: str, day: date) -> None:
    until = day + timedelta(days=1)
    try:
        # A savepoint: rows of that day in the default partition forbid one partition, not the others.
        async with connection.transaction():
            await connection.execute(
                f"CREATE TABLE \"{name}\" PARTITION OF {_TABLE} FOR VALUES FROM ('{day}') TO ('{until}')"
            )
    except asyncpg.CheckViolationError:
        log.warning("partition.late", partition=name)


def _name(day: date) -> str:
    return f"{_TABLE}_{day:%Y%m%d}"
