"""Claim deliveries for sending, fairly, and give back what is not begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.database import Executor
from mailement_webhooks.ids import DeliveryId, EndpointId

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedDelivery:
    """One delivery that this dispatcher alone may attempt until its lease ends; `attempt` counts from 1."""

    id: DeliveryId
    event_id: EventId
    endpoint_id: EndpointId
    brand_id: BrandId
    attempt: int
    lease_token: UUID
    url: str
    secret_sealed: str = field(repr=False)
    type: str
    body: bytes = field(repr=False)
    occurred_at: datetime
    traceparent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`cursor`: the last endpoint that had its turn; the next claim goes on behind it."""

    deliveries: Sequence[LeasedDelivery]
    cursor: EndpointId


async def claim_deliveries(
    executor: Executor,
    *,
    cursor: EndpointId,
    slots: int,
    endpoint_limit: int,
    under_way: Mapping[EndpointId, int],
    lease_seconds: float,
) -> Claim:
    """Leases at most `slots` due deliveries, and for no endpoint more than `endpoint_limit - under_way`."""
    rows = await executor.fetch(
        SQL["claim"],
        cursor,
        slots,
        endpoint_limit,
        lease_seconds,
        list(under_way),
        [endpoint_limit - count for count in under_way.values()],
    )
    return Claim(
        deliveries=[_leased(row) for row in rows if row["id"] is not None],
        cursor=EndpointId(rows[-1]["endpoint_id"]) if rows else cursor,
    )


async def release_deliveries(executor: Executor, deliveries: Sequence[LeasedDelivery]) -> None:
    """Makes claimed deliveries that nothing was sent of pending again."""
    await executor.execute(
        SQL["release"],
        [delivery.id for delivery in deliveries],
        [delivery.lease_token for delivery in deliveries],
    )


def _leased(row: asyncpg.Record) -> LeasedDelivery:
    return LeasedDelivery(
        id=DeliveryId(row["id"]),
        event_id=EventId(row["event_id"]),
        endpoint_id=EndpointId(row["endpoint_id"]),
        brand_id=BrandId(row["brand_id"]),
        attempt=row["attempts"],
        lease_token=row["lease_token"],
        url=row["url"],
        secret_sealed=row["secret_sealed"],
        type=row["type"],
        body=row["body"],
        occurred_at=row["occurred_at"],
        traceparent=row["traceparent"],
    )
