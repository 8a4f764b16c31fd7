"""Record events: the bytes once, and a delivery for every endpoint that hears them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Profile

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """An event as the endpoints of one profile get it."""

    id: EventId
    profile: Profile
    brand_id: BrandId
    type: str
    body: bytes
    occurred_at: datetime
    traceparent: str | None


async def record_events(executor: Executor, events: Sequence[WebhookEvent]) -> int:
    """How many deliveries came of them; events that nobody hears, or that are known, make none."""
    rows = await executor.fetch(
        SQL["record"],
        [event.id for event in events],
        [event.profile for event in events],
        [event.brand_id for event in events],
        [event.type for event in events],
        [event.body for event in events],
        [event.occurred_at for event in events],
        [event.traceparent for event in events],
    )
    return len(rows)
