"""What a use case runs its statements on."""

from __future__ import annotations

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection = asyncpg.Connection | PoolConnectionProxy

# One statement needs no more than a pool; handed a connection, it becomes part of that connection's transaction.
Executor = asyncpg.Pool | Connection
