"""Delete a brand's endpoint."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Connection
from mailement_webhooks.errors import NoEndpoint

SQL: Final = queries_beside(__file__)


async def delete_endpoint(connection: Connection, brand_id: BrandId) -> None:
    """Nothing more is posted to it; what waited is recorded as failed, `endpoint_deleted`. Raises NoEndpoint."""
    async with connection.transaction():
        # Waits for event batches that have just matched the endpoint, so that their deliveries are seen below.
        rows = await connection.fetch(SQL["delete"], brand_id)
        if not rows:
            raise NoEndpoint(brand_id)
        await connection.execute(SQL["cancel_waiting"], [row["id"] for row in rows])
