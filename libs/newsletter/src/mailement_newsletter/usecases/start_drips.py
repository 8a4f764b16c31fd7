"""Start drips: enrol whom an event concerns, and release who waited for a confirmation. Idempotent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signup:
    """`confirmed`: the subscriber has just become confirmed. `topic_ids`: what the signup brought."""

    brand_id: BrandId
    subscriber_id: SubscriberId
    confirmed: bool
    topic_ids: tuple[int, ...]


async def start_drips(
    connection: Connection, signups: Sequence[Signup], waiting: Sequence[SubscriberId]
) -> int:
    """Within the caller's transaction. `waiting`: subscribers whose enrolments may be due a start.

    Returns how many were enrolled.
    """
    enrolled = 0
    if signups:
        rows = [
            {
                "brand_id": signup.brand_id,
                "subscriber_id": signup.subscriber_id,
                "confirmed": signup.confirmed,
                "topic_ids": signup.topic_ids,
            }
            for signup in signups
        ]
        enrolled = int((await connection.execute(SQL["enroll_triggered"], rows)).rpartition(" ")[2])
    if waiting:
        await connection.execute(SQL["release_waiting"], sorted(set(waiting)))
    return enrolled
