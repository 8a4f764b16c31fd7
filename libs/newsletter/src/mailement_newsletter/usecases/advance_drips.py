"""Advance drips: due steps become rows of the mail ledger, and their enrolments move on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """`due` enrolments were taken, `queued` messages written; the next call goes on behind `last_drip_id`."""

    due: int
    queued: int
    last_drip_id: int


async def advance_drips(pool: asyncpg.Pool, *, now: datetime, behind: int, batch: int) -> Advanced:
    """One batch, one transaction. Drips are served in turn, beginning behind the id `behind`."""
    row = await pool.fetchrow(SQL["advance"], now, behind, batch)
    assert row is not None
    return Advanced(due=row["due"], queued=row["queued"], last_drip_id=row["last_drip_id"])


async def next_due(pool: asyncpg.Pool) -> datetime | None:
    """When the next step is due; None when nothing waits."""
    moment: datetime | None = await pool.fetchval(SQL["next_due"])
    return moment
