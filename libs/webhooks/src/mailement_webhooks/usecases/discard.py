"""Discard deliveries that wait: they will not be sent, and the ledger says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Connection
from mailement_webhooks.deliveries import Reason
from mailement_webhooks.ids import DeliveryId

SQL: Final = queries_beside(__file__)


async def discard(connection: Connection, reasons: Mapping[DeliveryId, Reason]) -> None:
    """In the transaction that has locked them in the queue."""
    if reasons:
        await connection.execute(SQL["discard"], list(reasons), list(reasons.values()))
