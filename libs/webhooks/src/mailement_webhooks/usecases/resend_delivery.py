"""Send a delivery again, or now instead of later."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import Delivery
from mailement_webhooks.errors import (
    DeliveryNotFound,
    DeliveryUnderWay,
    EndpointDeleted,
    PayloadRemoved,
)
from mailement_webhooks.ids import DeliveryId, EndpointId
from mailement_webhooks.usecases.show_delivery import show_delivery

SQL: Final = queries_beside(__file__)


async def resend_delivery(
    executor: Executor, delivery_id: DeliveryId, *, brand_id: BrandId | None = None
) -> Delivery:
    """One that is finished gets the whole schedule anew, and waits for no other of its subscriber; one that waits is due
    now. Returns what it is then: held, if its endpoint is paused, disabled or rests.

    Raises DeliveryNotFound, DeliveryUnderWay, PayloadRemoved, EndpointDeleted.
    """
    if await executor.fetchrow(SQL["hasten"], delivery_id, brand_id) is None:
        await _requeue(executor, delivery_id, brand_id)
    return (await show_delivery(executor, delivery_id, brand_id=brand_id)).delivery


async def _requeue(executor: Executor, delivery_id: DeliveryId, brand_id: BrandId | None) -> None:
    row = await executor.fetchrow(SQL["requeue"], delivery_id, brand_id)
    if row is None:
        raise DeliveryNotFound(delivery_id)
    if row["endpoint_deleted"]:
        raise EndpointDeleted(EndpointId(row["endpoint_id"]))
    if row["waits"]:
        # It waits and could not be hastened: it is leased, or somebody else has just sent it again.
        raise DeliveryUnderWay(delivery_id)
    if not row["has_payload"]:
        raise PayloadRemoved(delivery_id)
