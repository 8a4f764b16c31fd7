"""Discard what was held for too long by a paused or disabled endpoint."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor, transaction
from mailement_webhooks.deliveries import Reason
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.usecases.discard import discard

SQL: Final = queries_beside(__file__)


async def expire_held(executor: Executor, hold_days: int, limit: int) -> int:
    """How many were discarded, `limit` at most.

    A hold lasts `hold_days` from the moment at which the endpoint was paused or disabled, or the delivery due, whichever
    came later.
    """
    async with transaction(executor) as connection:
        overdue = [
            DeliveryId(row["delivery_id"]) for row in await connection.fetch(SQL["overdue"], hold_days, limit)
        ]
        await discard(connection, dict.fromkeys(overdue, Reason.HOLD_EXPIRED))
    return len(overdue)
