"""Plan dates: when date triggers fire for subscribers who have changed. Idempotent."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import SubscriberId
from mailement_newsletter.ids import DripId

SQL: Final = queries_beside(__file__)


async def plan_dates(
    connection: Connection, subscribers: Collection[SubscriberId], *, drip: DripId | None = None
) -> None:
    """For all drips with a date trigger, or for `drip` alone."""
    if subscribers:
        await connection.execute(SQL["plan"], sorted(set(subscribers)), drip)
