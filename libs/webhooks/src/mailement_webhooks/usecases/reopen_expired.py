"""Reopen deliveries whose dispatcher died while it held them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor
from mailement_webhooks.ids import EndpointId

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """How many leases had ended, and of whom."""

    deliveries: int
    endpoint_ids: frozenset[EndpointId]


async def reopen_expired(executor: Executor, *, limit: int = 500) -> Reopened:
    """Makes them due again; what was under way is recorded as an interrupted attempt.

    An interruption is our fault and never the endpoint's: such a delivery is tried again however often it
    happens; the length of the lease sets the pace.
    """
    rows = await executor.fetch(SQL["reopen"], limit)
    return Reopened(
        deliveries=len(rows), endpoint_ids=frozenset(EndpointId(row["endpoint_id"]) for row in rows)
    )
