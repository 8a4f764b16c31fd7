"""End runs: by a goal that was reached, or a topic that was given up. Idempotent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """What may end runs of a subscriber: topics that were taken away, or an event that an integrator reported."""

    brand_id: BrandId
    subscriber_id: SubscriberId
    removed_topic_ids: tuple[int, ...] = ()
    event: str | None = None


async def end_runs(connection: Connection, farewells: Sequence[Farewell]) -> int:
    """Within the caller's transaction. Returns how many runs ended."""
    if not farewells:
        return 0
    rows = [
        {
            "brand_id": farewell.brand_id,
            "subscriber_id": farewell.subscriber_id,
            "removed_topic_ids": farewell.removed_topic_ids,
            "event": farewell.event,
        }
        for farewell in farewells
    ]
    ended: int = await connection.fetchval(SQL["end_runs"], rows)
    return ended
