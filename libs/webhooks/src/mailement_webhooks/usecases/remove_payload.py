"""Remove what a delivery carried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.database import Executor
from mailement_webhooks.errors import DeliveryNotFound
from mailement_webhooks.ids import DeliveryId

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedPayload:
    """`delivery_ids`: all deliveries that carried the same bytes, to endpoints of one profile."""

    event_id: EventId
    delivery_ids: tuple[DeliveryId, ...]


async def remove_payload(
    executor: Executor, delivery_id: DeliveryId, *, brand_id: BrandId | None = None
) -> RemovedPayload:
    """The bytes are stored once for all endpoints of a profile, so they go for all of them: what still waits fails as
    `payload_removed`. Heads and answers of the attempts go too; what happened, and when, stays.

    Raises DeliveryNotFound.
    """
    row = await executor.fetchrow(SQL["remove"], delivery_id, brand_id)
    if row is None:
        raise DeliveryNotFound(delivery_id)
    return RemovedPayload(
        event_id=EventId(row["event_id"]), delivery_ids=tuple(map(DeliveryId, row["delivery_ids"]))
    )
