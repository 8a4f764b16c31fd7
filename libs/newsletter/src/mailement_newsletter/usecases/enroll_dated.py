"""Enrol dated: those whose day of a date trigger has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledDated:
    """`due` days had come; `enrolled` runs began by them."""

    due: int
    enrolled: int


async def enroll_dated(pool: asyncpg.Pool, *, now: datetime, batch: int) -> EnrolledDated:
    """One batch, one transaction."""
    row = await pool.fetchrow(SQL["enroll"], now, batch)
    assert row is not None
    return EnrolledDated(due=row["due"], enrolled=row["enrolled"])
