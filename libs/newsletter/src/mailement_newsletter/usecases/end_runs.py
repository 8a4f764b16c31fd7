"""End runs: by a goal that was reached, a topic that was given up, somebody's leaving, or because one is to end; also those that failed. Idempotent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.ids import RunId
from mailement_newsletter.usecases.cancel_mails_of_runs import cancel_mails_of_runs, ended_run

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """What may end runs of a subscriber: topics that were taken away, an event that was reported, somebody's leaving or a wish.

    One of them. `happened_at`: when the event was committed that said so; what began then or later goes on. None: somebody
    wishes the end of the run `run_id`. `left_as`: unsubscribed, bounced or complained.
    """

    happened_at: datetime | None
    brand_id: BrandId
    subscriber_id: SubscriberId
    removed_topic_ids: tuple[int, ...] = ()
    event: str | None = None
    run_id: RunId | None = None
    left_as: str | None = None


async def end_runs(connection: Connection, farewells: Sequence[Farewell]) -> int:
    """Within the caller's transaction; what the runs had queued is cancelled. Returns how many ended."""
    if not farewells:
        return 0
    rows = [
        {
            "happened_at": farewell.happened_at,
            "brand_id": farewell.brand_id,
            "subscriber_id": farewell.subscriber_id,
            "removed_topic_ids": farewell.removed_topic_ids,
            "event": farewell.event,
            "run_id": farewell.run_id,
            "left_as": farewell.left_as,
        }
        for farewell in farewells
    ]
    ended = [ended_run(row) for row in await connection.fetch(SQL["end_runs"], rows)]
    await cancel_mails_of_runs(connection, ended)
    return len(ended)
