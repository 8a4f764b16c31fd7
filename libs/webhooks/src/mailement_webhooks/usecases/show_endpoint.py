"""Show a brand's endpoint and how its deliveries fare."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.errors import NoEndpoint
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.usecases.list_endpoints import list_endpoints

SQL: Final = queries_beside(__file__)

# Enough to see how an endpoint fares, and no more than that to count.
_NEWEST: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """`status_code` None: no answer came."""

    delivery_id: DeliveryId
    failed_at: datetime
    reason: Reason
    detail: str | None
    status_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """Counts are those of the brand's newest 10,000 deliveries. `waiting`: pending or on their way."""

    endpoint: Endpoint
    waiting: int
    delivered: int
    failed: int
    last_failure: Failure | None


async def show_endpoint(executor: Executor, brand_id: BrandId) -> EndpointReport:
    """Raises NoEndpoint."""
    endpoints = await list_endpoints(executor, brand_id=brand_id)
    if not endpoints:
        raise NoEndpoint(brand_id)
    endpoint = endpoints[0]
    rows = await executor.fetch(SQL["counts"], endpoint.id, brand_id, _NEWEST)
    counts = {DeliveryState(row["state"]): int(row["deliveries"]) for row in rows}
    return EndpointReport(
        endpoint=endpoint,
        waiting=counts.get(DeliveryState.PENDING, 0) + counts.get(DeliveryState.LEASED, 0),
        delivered=counts.get(DeliveryState.DELIVERED, 0),
        failed=counts.get(DeliveryState.FAILED, 0),
        last_failure=await _last_failure(executor, brand_id, endpoint),
    )


async def _last_failure(executor: Executor, brand_id: BrandId, endpoint: Endpoint) -> Failure | None:
    row = await executor.fetchrow(SQL["last_failure"], endpoint.id, brand_id)
    if row is None:
        return None
    return Failure(
        delivery_id=DeliveryId(row["delivery_id"]),
        failed_at=row["finished_at"],
        reason=Reason(row["reason"]),
        detail=row["detail"],
        status_code=row["status_code"],
    )
