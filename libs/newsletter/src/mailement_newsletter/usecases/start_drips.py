"""Start drips: enrol whom an event concerns, and release who waited for a confirmation. Idempotent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId, SubscriberId
from mailement_newsletter.ids import RunId
from mailement_newsletter.usecases.restart_runs import restart_runs

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What may start drips for a subscriber. `cause`: the event that said so; its copies start nothing.

    `happened_at`: when that event was committed.
    `confirmed`: the subscriber has just become confirmed. `topic_ids`: what the signup brought.
    `event`: the name of an event that an integrator reported.
    """

    cause: EventId
    happened_at: datetime
    brand_id: BrandId
    subscriber_id: SubscriberId
    confirmed: bool = False
    topic_ids: tuple[int, ...] = ()
    event: str | None = None


async def start_drips(
    connection: Connection, occasions: Sequence[Occasion], waiting: Sequence[SubscriberId]
) -> int:
    """Within the caller's transaction. `waiting`: subscribers whose enrolments may be due a start.

    Returns how many were enrolled.
    """
    enrolled = await _start(connection, occasions) if occasions else 0
    if waiting:
        await connection.execute(SQL["release_waiting"], sorted(set(waiting)))
    return enrolled


async def _start(connection: Connection, occasions: Sequence[Occasion]) -> int:
    rows = [
        {
            "cause": str(occasion.cause),
            "happened_at": occasion.happened_at,
            "brand_id": occasion.brand_id,
            "subscriber_id": occasion.subscriber_id,
            "confirmed": occasion.confirmed,
            "topic_ids": occasion.topic_ids,
            "event": occasion.event,
        }
        for occasion in occasions
    ]
    begun = await connection.fetchrow(SQL["enroll_triggered"], rows)
    assert begun is not None
    enrolled: int = begun["enrolled"]
    if begun["giving_way"]:
        await restart_runs(connection, [RunId(run) for run in begun["giving_way"]])
        # Whoever has been enrolled by these events is not so again.
        enrolled += await connection.fetchval(SQL["enroll_triggered"], rows)
    return enrolled
