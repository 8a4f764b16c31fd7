"""List endpoints."""

from __future__ import annotations

from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId, BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Endpoint, EndpointState, Profile
from mailement_webhooks.ids import EndpointId

SQL: Final = queries_beside(__file__)


async def list_endpoints(
    executor: Executor, *, account_id: AccountId | None = None, brand_id: BrandId | None = None
) -> list[Endpoint]:
    """All endpoints, or those of one account or one brand; deleted ones are left out."""
    return [endpoint_of(row) for row in await executor.fetch(SQL["list"], account_id, brand_id)]


def endpoint_of(row: asyncpg.Record) -> Endpoint:
    """From a row with the columns `id … updated_at`."""
    return Endpoint(
        id=EndpointId(row["id"]),
        account_id=AccountId(row["account_id"]),
        brand_id=None if row["brand_id"] is None else BrandId(row["brand_id"]),
        profile=Profile(row["profile"]),
        url=row["url"],
        event_types=tuple(row["event_types"]),
        state=EndpointState(row["state"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
