"""Adopt what still waits in the tables of the release before this one, which writes to them until it is stopped."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Connection

SQL: Final = queries_beside(__file__)


async def adopt_previous(connection: Connection, limit: int) -> int:
    """How many deliveries were taken over, `limit` at most. Their attempts count from 1 again."""
    async with connection.transaction():
        rows = await connection.fetch(SQL["take"], limit)
        if rows:
            # A statement of its own: it sees what those had made of the same events whom the first has waited for.
            await connection.execute(SQL["move"], [row["id"] for row in rows])
    return len(rows)
