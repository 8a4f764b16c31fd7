"""What a query runs on: one statement needs no more than a pool; on a connection it is a part of its transaction."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg

from mailement_common.db.pool import Connection

Executor: TypeAlias = "asyncpg.Pool | Connection"

__all__ = ["Connection", "Executor"]
