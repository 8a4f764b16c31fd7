"""Start drips: enrol whom an event concerns, and release who waited for a confirmation. Idempotent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId, SubscriberId
from mailement_newsletter.usecases.cancel_mails_of_runs import cancel_mails_of_runs, ended_run

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What may start drips for a subscriber. `cause`: the event that said so; its copies start nothing.

    `confirmed`: the subscriber has just become confirmed. `topic_ids`: what the signup brought.
    `event`: the name of an event that an integrator reported.
    """

    cause: EventId
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
    enrolled = 0
    if occasions:
        rows = [
            {
                "cause": str(occasion.cause),
                "brand_id": occasion.brand_id,
                "subscriber_id": occasion.subscriber_id,
                "confirmed": occasion.confirmed,
                "topic_ids": occasion.topic_ids,
                "event": occasion.event,
            }
            for occasion in occasions
        ]
        found = await connection.fetch(SQL["enroll_triggered"], rows)
        enrolled = found[0]["enrolled"]
        await cancel_mails_of_runs(connection, [ended_run(row) for row in found if row["id"] is not None])
    if waiting:
        await connection.execute(SQL["release_waiting"], sorted(set(waiting)))
    return enrolled
