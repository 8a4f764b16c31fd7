"""Tell operational events: they leave with the commit of the attempt that caused them, and come back as any event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mailement_common.db.sql import queries_beside
from mailement_common.events.types import EventType
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.database import Executor

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationalEvent:
    """`event_id`: of the row that caused it, so that the same fact told twice is one event."""

    event_id: EventId
    type: EventType
    brand_id: BrandId
    occurred_at: datetime
    data: Mapping[str, Any]


async def tell(executor: Executor, facts: Sequence[OperationalEvent]) -> None:
    if facts:
        await executor.execute(
            SQL["append"],
            [fact.event_id for fact in facts],
            [fact.type for fact in facts],
            [fact.brand_id for fact in facts],
            [fact.data for fact in facts],
            [fact.occurred_at for fact in facts],
        )
