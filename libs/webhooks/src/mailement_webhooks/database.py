"""What a use case runs its statements on.

Whoever locks rows of several tables takes them in this order, so that nobody waits in a circle: rows that stand in
`delivery_queue`, then `delivery_payloads`, `webhook_endpoint_sequences`, `deliveries`, rows that are new in
`delivery_queue`, `webhook_replays`, `webhook_endpoint_health`, `webhook_endpoints`; and rows of one table by their key,
or with SKIP LOCKED.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from mailement_common.db.pool import ServerSettings

Connection = asyncpg.Connection | PoolConnectionProxy

# One statement needs no more than a pool; handed a connection, it becomes part of that connection's transaction.
Executor = asyncpg.Pool | Connection

# For the connections of a dispatcher. A plan that was made while little waited could read the queue as a whole, or all that
# waits for one endpoint, and go on doing so while it fills. The ledger is read in the order of an index, as far as is needed,
# or not at all.
BY_INDEX: Final[ServerSettings] = MappingProxyType(
    {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_mergejoin": "off"}
)


@asynccontextmanager
async def transaction(executor: Executor) -> AsyncIterator[Connection]:
    """For a deed of several statements; on a connection that is in a transaction, a part of that."""
    if isinstance(executor, asyncpg.Pool):
        async with executor.acquire() as connection, connection.transaction():
            yield connection
    else:
        async with executor.transaction():
            yield executor
