"""Pause an endpoint: what comes for it is held."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.list_endpoints import find_endpoint

SQL: Final = queries_beside(__file__)


async def pause_endpoint(
    executor: Executor, endpoint_id: EndpointId, *, brand_id: BrandId | None = None
) -> Endpoint:
    """One that is paused or disabled stays as it is. Raises EndpointNotFound."""
    await executor.execute(SQL["pause"], endpoint_id, brand_id)
    return await find_endpoint(executor, endpoint_id, brand_id=brand_id)
