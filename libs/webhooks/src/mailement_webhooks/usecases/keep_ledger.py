"""Keep the ledger: months are made ahead of time and dropped by age."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from mailement_common.db.partitions import Family, Period, drop_partitions, make_partitions
from mailement_common.supervise import wait_for
from mailement_webhooks.database import Connection

PAYLOADS: Final = Family(table="delivery_payloads", column="occurred_at", period=Period.MONTH, ahead=2)
DELIVERIES: Final = Family(
    table="deliveries",
    column="occurred_at",
    period=Period.MONTH,
    ahead=2,
    # Room on the page, so that a delivery that ends is written in place.
    storage="fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05",
)
ATTEMPTS: Final = Family(table="delivery_attempts", column="occurred_at", period=Period.MONTH, ahead=2)

_PAUSE_SECONDS: Final = 3600


async def keep_ledger(
    pool: asyncpg.Pool, stop: asyncio.Event, *, ledger_days: int, payload_days: int
) -> None:
    """Tends it every hour until `stop`."""
    while not stop.is_set():
        async with pool.acquire() as connection:
            await tend_ledger(connection, ledger_days=ledger_days, payload_days=payload_days)
        await wait_for(stop, _PAUSE_SECONDS)


async def tend_ledger(connection: Connection, *, ledger_days: int, payload_days: int) -> None:
    """A month goes when its every day is older than is kept: what was sent, and what is known of it, by days of their own."""
    for family, days in ((PAYLOADS, payload_days), (DELIVERIES, ledger_days), (ATTEMPTS, ledger_days)):
        await make_partitions(connection, family)
        await drop_partitions(connection, family, keep_days=days)
