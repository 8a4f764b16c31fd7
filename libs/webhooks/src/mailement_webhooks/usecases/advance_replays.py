"""Advance replays: put finished deliveries into the queue once more, no faster than each replay may go."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor
from mailement_webhooks.ids import EndpointId, Shard

SQL: Final = queries_beside(__file__)


async def advance_replays(
    executor: Executor, *, shards: Collection[Shard], seconds: float
) -> frozenset[EndpointId]:
    """The endpoints that have something new to send. `seconds`: how long ago this was done last.

    A replay is finished when it has come to its end and nothing of it waits. What a cancelled one still had waiting is
    again what it was before.
    """
    await executor.execute(SQL["withdraw"], list(shards))
    rows = await executor.fetch(SQL["advance"], list(shards), seconds)
    return frozenset(EndpointId(row["endpoint_id"]) for row in rows)
