"""Tell whoever owns some endpoints that there is something to send to them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor
from mailement_webhooks.ids import EndpointId

SQL: Final = queries_beside(__file__)

CHANNEL: Final = "webhook_due"
# Instead of ids: look everywhere.
EVERYWHERE: Final = "*"

# PostgreSQL takes 7,999 bytes.
_LONGEST: Final = 7_000


async def announce_due(executor: Executor, endpoint_ids: Collection[EndpointId]) -> None:
    """Heard once the executor's transaction has committed. Nobody hears it twice, somebody may never hear it."""
    if endpoint_ids:
        told = ",".join(map(str, sorted(endpoint_ids)))
        await executor.execute(SQL["announce"], CHANNEL, told if len(told) <= _LONGEST else EVERYWHERE)
