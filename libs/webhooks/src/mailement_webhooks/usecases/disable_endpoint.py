"""Disable an endpoint by rule: what comes for it is held until people enable it again."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import StateReason
from mailement_webhooks.ids import EndpointId

SQL: Final = queries_beside(__file__)


async def disable_endpoint(executor: Executor, endpoint_id: EndpointId, reason: StateReason) -> bool:
    """False if it was not enabled: then nothing was changed."""
    return await executor.fetchval(SQL["disable"], endpoint_id, reason) is not None
