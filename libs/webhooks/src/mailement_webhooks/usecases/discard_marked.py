"""Discard what waits for an endpoint that was told to forget it, or that was deleted."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor

SQL: Final = queries_beside(__file__)


async def discard_marked(executor: Executor, limit: int) -> int:
    """How many were discarded, `limit` at most; with fewer, the marks of endpoints that have nothing left go away."""
    discarded = len(await executor.fetch(SQL["discard"], limit))
    if discarded < limit:
        await executor.execute(SQL["unmark"])
    return discarded
