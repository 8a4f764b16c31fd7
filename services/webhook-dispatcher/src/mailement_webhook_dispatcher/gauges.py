"""Figures that are looked up and not counted. Those from the ledger are the same in every dispatcher."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.logs import logger
from mailement_common.supervise import keep_running, wait_for
from mailement_webhook_dispatcher.metrics import (
    HELD,
    OPEN_BREAKERS,
    PAST_DUE,
    PENDING,
    RECONCILE_MISSING,
)
from mailement_webhook_dispatcher.workloads import Workloads

SQL: Final = queries_beside(__file__)

_WAITING_SECONDS: Final = 15.0
_RECONCILE_SECONDS: Final = 60.0

log = logger(__name__)


async def keep_gauges(pool: asyncpg.Pool, workloads: Workloads, stop: asyncio.Event) -> None:
    """Reads them until `stop`."""
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_running("webhook gauges", lambda: _read_waiting(pool, workloads, stop), stop))
        group.create_task(keep_running("webhook reconciliation", lambda: _reconcile(pool, stop), stop))


async def _read_waiting(pool: asyncpg.Pool, workloads: Workloads, stop: asyncio.Event) -> None:
    while not stop.is_set():
        row = await pool.fetchrow(SQL["waiting"])
        assert row is not None
        PENDING.set(row["pending"])
        HELD.set(row["held"])
        PAST_DUE.set(row["past_due"])
        OPEN_BREAKERS.set(workloads.open_breakers())
        await wait_for(stop, _WAITING_SECONDS)


async def _reconcile(pool: asyncpg.Pool, stop: asyncio.Event) -> None:
    while not stop.is_set():
        missing = await find_missing(pool)
        RECONCILE_MISSING.set(missing)
        if missing:
            log.error("webhook.missing", deliveries=missing)
        await wait_for(stop, _RECONCILE_SECONDS)


async def find_missing(pool: asyncpg.Pool) -> int:
    """Recent deliveries that should be there and are not, or that nobody will send."""
    missing: int = await pool.fetchval(SQL["missing"])
    return missing
