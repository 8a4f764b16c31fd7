"""Delete an endpoint, or all that a brand has."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.errors import EndpointNotFound
from mailement_webhooks.ids import EndpointId

SQL: Final = queries_beside(__file__)


async def delete_endpoint(
    executor: Executor, endpoint_id: EndpointId, *, brand_id: BrandId | None = None
) -> None:
    """Nothing more is posted to it, what waits is discarded as `endpoint_deleted`, and its replays are cancelled.

    Raises EndpointNotFound.
    """
    if not await executor.fetch(SQL["delete"], endpoint_id, brand_id):
        raise EndpointNotFound(endpoint_id)


async def delete_endpoints_of(executor: Executor, brand_id: BrandId) -> int:
    """How many there were; those that hear every brand of the account stay."""
    return len(await executor.fetch(SQL["delete"], None, brand_id))
