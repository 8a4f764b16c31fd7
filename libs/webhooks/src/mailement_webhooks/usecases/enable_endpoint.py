"""Enable an endpoint that was paused or disabled, or that rests after failures."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Connection
from mailement_webhooks.endpoints import Drain, Endpoint
from mailement_webhooks.errors import EndpointNotFound
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.list_endpoints import find_endpoint

SQL: Final = queries_beside(__file__)


async def enable_endpoint(
    connection: Connection,
    endpoint_id: EndpointId,
    *,
    drain: Drain = Drain.OLDEST_FIRST,
    brand_id: BrandId | None = None,
) -> Endpoint:
    """Its failures are forgotten and its breaker closes, also if it was enabled all the time.

    `drain`: what becomes of that which waits. Raises EndpointNotFound.
    """
    async with connection.transaction():
        # Its health before itself: the order in which the dispatcher takes them.
        await start_afresh(connection, endpoint_id)
        if await connection.fetchrow(SQL["enable"], endpoint_id, brand_id, drain) is None:
            raise EndpointNotFound(endpoint_id)
        return await find_endpoint(connection, endpoint_id)


async def start_afresh(connection: Connection, endpoint_id: EndpointId) -> None:
    """Or the next failure would disable an endpoint that had been disabled for its failures."""
    await connection.execute(SQL["start_afresh"], endpoint_id)
