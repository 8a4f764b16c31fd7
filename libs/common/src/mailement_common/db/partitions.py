"""Tables in parts, a day or a month each: made ahead of time, dropped by age. Nothing is ever deleted in bulk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, assert_never

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.logs import logger

SQL: Final = queries_beside(__file__)

# "partition" in ASCII, cut to a bigint: one process at a time keeps house.
_LOCK: Final = 0x7061727469746E73

log = logger(__name__)


class Period(StrEnum):
    """How much time a partition spans, in UTC."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A table that is partitioned by ranges of `column`, with a partition `<table>_default` for what finds no other.

    `ahead`: how many periods are made, the present one included. `storage`: parameters of each partition.
    """

    table: str
    column: str
    period: Period
    ahead: int
    storage: str = ""

    @property
    def default(self) -> str:
        return f"{self.table}_default"

    def first_day(self, day: date) -> date:
        """Of the period that has `day`."""
        match self.period:
            case Period.DAY:
                return day
            case Period.MONTH:
                return day.replace(day=1)
            case _:
                assert_never(self.period)

    def next_first_day(self, day: date) -> date:
        """Of the period that follows the one that has `day`."""
        match self.period:
            case Period.DAY:
                return day + timedelta(days=1)
            case Period.MONTH:
                return (day.replace(day=1) + timedelta(days=31)).replace(day=1)
            case _:
                assert_never(self.period)

    def partition(self, day: date) -> str:
        """The name of the partition that has `day`; of two, the later one's sorts behind."""
        match self.period:
            case Period.DAY:
                return f"{self.table}_{day:%Y%m%d}"
            case Period.MONTH:
                return f"{self.table}_{day:%Y%m}"
            case _:
                assert_never(self.period)


async def make_partitions(connection: Connection, family: Family) -> None:
    """Those of the present and the coming periods. A table that is busy, or another process at it, means: next time."""
    try:
        async with connection.transaction():
            if await _take_turn(connection):
                await _make(connection, family)
    except asyncpg.LockNotAvailableError:
        log.info("partition.busy", table=family.table)


async def drop_partitions(connection: Connection, family: Family, *, keep_days: int) -> None:
    """Those whose every day is older than `keep_days`."""
    try:
        async with connection.transaction():
            if await _take_turn(connection):
                await _drop(connection, family, keep_days)
    except asyncpg.LockNotAvailableError:
        log.info("partition.busy", table=family.table)


async def _take_turn(connection: Connection) -> bool:
    await connection.execute("SET LOCAL lock_timeout = '2s'")
    taken: bool = await connection.fetchval(SQL["take_turn"], _LOCK)
    return taken


async def _make(connection: Connection, family: Family) -> None:
    late = await _late(connection, family)
    if late:
        # Rows of a period in the default partition forbid that period's own, so they have to move out first.
        await connection.execute(f"ALTER TABLE {family.table} DETACH PARTITION {family.default}")
    standing = await _standing(connection, family)
    for day in sorted({*late, *await _coming(connection, family)}):
        if family.partition(day) not in standing:
            await _make_one(connection, family, day)
    if late:
        await _move_in(connection, family)
        await connection.execute(f"TRUNCATE {family.default}")
        await connection.execute(f"ALTER TABLE {family.table} ATTACH PARTITION {family.default} DEFAULT")
        log.warning("partition.late", table=family.table, days=[day.isoformat() for day in late])


async def _late(connection: Connection, family: Family) -> set[date]:
    """The first days of the periods whose rows found no partition of their own."""
    rows = await connection.fetch(
        f"SELECT DISTINCT ({family.column} AT TIME ZONE 'UTC')::date AS day FROM {family.default}"  # noqa: S608
    )
    return {family.first_day(row["day"]) for row in rows}


async def _coming(connection: Connection, family: Family) -> list[date]:
    days = [family.first_day(await _today(connection))]
    while len(days) < family.ahead:
        days.append(family.next_first_day(days[-1]))
    return days


async def _make_one(connection: Connection, family: Family, day: date) -> None:
    until = family.next_first_day(day)
    storage = f" WITH ({family.storage})" if family.storage else ""
    await connection.execute(
        f"CREATE TABLE {family.partition(day)} PARTITION OF {family.table} "
        f"FOR VALUES FROM ('{day} 00:00:00+00') TO ('{until} 00:00:00+00'){storage}"
    )


async def _move_in(connection: Connection, family: Family) -> None:
    columns: str = await connection.fetchval(SQL["columns"], family.table)
    await connection.execute(
        f"INSERT INTO {family.table} ({columns}) SELECT {columns} FROM {family.default}"  # noqa: S608
    )


async def _drop(connection: Connection, family: Family, keep_days: int) -> None:
    oldest = family.partition(await _today(connection) - timedelta(days=keep_days))
    for name in sorted(await _standing(connection, family)):
        if name != family.default and name < oldest:
            await connection.execute(f'DROP TABLE "{name}"')
            log.info("partition.dropped", partition=name)


async def _today(connection: Connection) -> date:
    today: date = await connection.fetchval(SQL["today"])
    return today


async def _standing(connection: Connection, family: Family) -> set[str]:
    return {row["name"] for row in await connection.fetch(SQL["partitions"], family.table)}
