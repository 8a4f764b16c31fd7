"""Retime subscribers: whoever has moved to another time zone gets his next mails by its hours. Idempotent."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import SubscriberId

SQL: Final = queries_beside(__file__)


async def retime_subscribers(connection: Connection, subscribers: Collection[SubscriberId]) -> None:
    """Those whose fields have changed, the time zone perhaps among them."""
    if subscribers:
        await connection.execute(SQL["retime"], sorted(set(subscribers)))
