"""Reopen deliveries whose dispatcher died while it held them."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor

SQL: Final = queries_beside(__file__)

_BATCH: Final = 500


async def reopen_expired(executor: Executor) -> int:
    """How many leases had ended.

    An interruption is our fault and never the endpoint's: such a delivery is tried again however often it
    happens; the length of the lease sets the pace.
    """
    return len(await executor.fetch(SQL["reopen"], _BATCH))
