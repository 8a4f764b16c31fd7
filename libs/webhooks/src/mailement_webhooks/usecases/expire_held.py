"""Discard what was held for too long by a paused or disabled endpoint."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor

SQL: Final = queries_beside(__file__)


async def expire_held(executor: Executor, hold_days: int, limit: int) -> int:
    """How many were discarded, `limit` at most.

    A hold lasts `hold_days` from the moment at which the endpoint was paused or disabled, or the delivery due, whichever
    came later.
    """
    return len(await executor.fetch(SQL["expire"], hold_days, limit))
