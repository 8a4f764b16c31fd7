"""Discard what waits for an endpoint that was told to forget it, or that was deleted."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor, transaction
from mailement_webhooks.deliveries import Reason
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.usecases.discard import discard

SQL: Final = queries_beside(__file__)


async def discard_marked(executor: Executor, limit: int) -> int:
    """How many were discarded, `limit` at most; with fewer, the marks of endpoints that have nothing left go away."""
    async with transaction(executor) as connection:
        marked = {
            DeliveryId(row["delivery_id"]): Reason(row["reason"])
            for row in await connection.fetch(SQL["marked"], limit)
        }
        await discard(connection, marked)
        if len(marked) < limit:
            await connection.execute(SQL["unmark"])
    return len(marked)
