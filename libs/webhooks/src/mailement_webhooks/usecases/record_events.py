"""Record events: the bytes once, and a delivery for every endpoint that hears them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import EndpointId

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """An event as the endpoints of one profile get it; `type` in that profile's words.

    `order_key`: the subscriber, whose events wait for one another where an endpoint asks for it. `about_endpoint`: the
    one that the event speaks of and that does not get it.
    """

    id: EventId
    profile: Profile
    brand_id: BrandId
    type: str
    body: bytes = field(repr=False)
    occurred_at: datetime
    order_key: int | None = None
    about_endpoint: EndpointId | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """How many deliveries were made, and whom they are for."""

    deliveries: int
    endpoint_ids: frozenset[EndpointId]


async def record_events(executor: Executor, events: Sequence[WebhookEvent]) -> Recorded:
    """Events that nobody hears, or that are known already, make none. Paused and disabled endpoints hear."""
    rows = await executor.fetch(
        SQL["record"],
        [event.id for event in events],
        [event.profile for event in events],
        [event.brand_id for event in events],
        [event.type for event in events],
        [event.body for event in events],
        [event.occurred_at for event in events],
        [event.order_key for event in events],
        [event.about_endpoint for event in events],
        [event.traceparent for event in events],
    )
    return Recorded(
        deliveries=len(rows), endpoint_ids=frozenset(EndpointId(row["endpoint_id"]) for row in rows)
    )
