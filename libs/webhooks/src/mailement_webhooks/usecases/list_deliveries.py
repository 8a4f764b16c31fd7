"""List a brand's deliveries with every attempt."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import Attempt, AttemptOutcome, Delivery, DeliveryState, Reason
from mailement_webhooks.ids import DeliveryId, EndpointId

SQL: Final = queries_beside(__file__)


async def list_deliveries(
    executor: Executor,
    brand_id: BrandId,
    *,
    state: DeliveryState | None = None,
    limit: int = 50,
    before: DeliveryId | None = None,
) -> list[Delivery]:
    """Newest first; `before` is the last id of the page before."""
    rows = await executor.fetch(SQL["deliveries"], brand_id, state, before, limit)
    attempts: dict[int, list[Attempt]] = defaultdict(list)
    for row in await executor.fetch(SQL["attempts"], [row["id"] for row in rows]):
        attempts[row["delivery_id"]].append(_attempt(row))
    return [_delivery(row, tuple(attempts[row["id"]])) for row in rows]


def _delivery(row: asyncpg.Record, attempts: tuple[Attempt, ...]) -> Delivery:
    return Delivery(
        id=DeliveryId(row["id"]),
        event_id=EventId(row["event_id"]),
        endpoint_id=EndpointId(row["endpoint_id"]),
        brand_id=BrandId(row["brand_id"]),
        type=row["type"],
        state=DeliveryState(row["state"]),
        reason=_reason(row["reason"]),
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        attempts=attempts,
    )


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        number=row["number"],
        outcome=AttemptOutcome(row["outcome"]),
        reason=_reason(row["reason"]),
        detail=row["detail"],
        status_code=row["status_code"],
        response_body=row["response_body"],
        started_at=row["started_at"],
        duration_ms=row["duration_ms"],
    )


def _reason(text: str | None) -> Reason | None:
    return None if text is None else Reason(text)
