"""Fold tallies: counts are appended by those who count, and added up here."""

from __future__ import annotations

from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside

SQL: Final = queries_beside(__file__)


async def fold_tallies(pool: asyncpg.Pool, *, limit: int) -> None:
    """At most `limit` rows become a few; the sums stay the same at every moment."""
    await pool.execute(SQL["fold"], limit)
