"""Pull what an endpoint missed, by the numbers in `webhook-sequence`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.ids import DeliveryId, EndpointId, Sequence
from mailement_webhooks.usecases.list_deliveries import state_of
from mailement_webhooks.usecases.list_endpoints import find_endpoint

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledEvent:
    """`body`: the very bytes that are posted; None: removed."""

    sequence: Sequence
    delivery_id: DeliveryId
    event_id: EventId
    type: str
    occurred_at: datetime
    state: DeliveryState
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """`after`: what to ask for next. `last`: the newest number there is, 0 if none."""

    endpoint: Endpoint
    events: tuple[PulledEvent, ...]
    after: Sequence
    last: Sequence


async def pull_events(
    executor: Executor,
    endpoint_id: EndpointId,
    *,
    after: Sequence,
    limit: int = 100,
    brand_id: BrandId | None = None,
) -> Pulled:
    """In the order of the sequence; pulling changes nothing. Raises EndpointNotFound."""
    endpoint = await find_endpoint(executor, endpoint_id, brand_id=brand_id)
    last = Sequence(await executor.fetchval(SQL["last"], endpoint_id) or 0)
    rows = await executor.fetch(SQL["pull"], endpoint_id, after, limit)
    events = tuple(_event(row) for row in rows)
    return Pulled(
        endpoint=endpoint,
        events=events,
        after=events[-1].sequence if events else after,
        last=max(last, events[-1].sequence) if events else last,
    )


def _event(row: asyncpg.Record) -> PulledEvent:
    return PulledEvent(
        sequence=Sequence(row["sequence"]),
        delivery_id=DeliveryId(row["delivery_id"]),
        event_id=EventId(row["event_id"]),
        type=row["type"],
        occurred_at=row["occurred_at"],
        state=state_of(row)[0],
        body=row["body"],
    )
