"""List endpoints, or find one."""

from __future__ import annotations

from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId, BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Endpoint, EndpointState, Profile, RetryMode, StateReason
from mailement_webhooks.errors import EndpointNotFound, NoEndpoint, SeveralEndpoints
from mailement_webhooks.ids import EndpointId

SQL: Final = queries_beside(__file__)


async def list_endpoints(
    executor: Executor, *, account_id: AccountId | None = None, brand_id: BrandId | None = None
) -> list[Endpoint]:
    """All endpoints, or those of one account or one brand, the oldest first; deleted ones are left out.

    Those that hear every brand of an account are not among a brand's.
    """
    return [endpoint_of(row) for row in await executor.fetch(SQL["list"], account_id, brand_id, None)]


async def find_endpoint(
    executor: Executor, endpoint_id: EndpointId, *, brand_id: BrandId | None = None
) -> Endpoint:
    """`brand_id`: only if the endpoint is this brand's own. Raises EndpointNotFound."""
    row = await executor.fetchrow(SQL["list"], None, brand_id, endpoint_id)
    if row is None:
        raise EndpointNotFound(endpoint_id)
    return endpoint_of(row)


async def only_endpoint(executor: Executor, brand_id: BrandId) -> Endpoint:
    """The endpoint of a brand that has one. Raises NoEndpoint, SeveralEndpoints."""
    endpoints = await list_endpoints(executor, brand_id=brand_id)
    if not endpoints:
        raise NoEndpoint(brand_id)
    if len(endpoints) > 1:
        raise SeveralEndpoints([endpoint.id for endpoint in endpoints])
    return endpoints[0]


def endpoint_of(row: asyncpg.Record) -> Endpoint:
    """From a row with the columns `id … updated_at`."""
    return Endpoint(
        id=EndpointId(row["id"]),
        account_id=AccountId(row["account_id"]),
        brand_id=None if row["brand_id"] is None else BrandId(row["brand_id"]),
        profile=Profile(row["profile"]),
        url=row["url"],
        description=row["description"],
        event_types=tuple(row["event_types"]),
        state=EndpointState(row["state"]),
        state_reason=None if row["state_reason"] is None else StateReason(row["state_reason"]),
        state_changed_at=row["state_changed_at"],
        retries=RetryMode(row["retries"]),
        ordered=row["ordered"],
        max_in_flight=row["max_in_flight"],
        rate_per_second=row["rate_per_second"],
        secret_staged_at=row["secret_staged_at"],
        secret_promoted_at=row["secret_promoted_at"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
