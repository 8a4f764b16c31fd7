"""Enrol dated: those whose day of a date trigger has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.logs import logger
from mailement_newsletter.usecases.advance_drips import REFUSED

SQL: Final = queries_beside(__file__)

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledDated:
    """`due` days had come; `enrolled` runs began by them."""

    due: int
    enrolled: int


async def enroll_dated(pool: asyncpg.Pool, *, now: datetime, batch: int) -> EnrolledDated:
    """One batch, one transaction; where the database refuses a batch, one date, which is put off if it is the one."""
    try:
        return await _enroll(pool, now, batch)
    except REFUSED as error:
        log.error("drip.date_refused", reason=type(error).__name__)
    try:
        return await _enroll(pool, now, 1)
    except REFUSED:
        await pool.execute(SQL["put_off"], now)
        return EnrolledDated(due=1, enrolled=0)


async def _enroll(pool: asyncpg.Pool, now: datetime, batch: int) -> EnrolledDated:
    row = await pool.fetchrow(SQL["enroll"], now, batch)
    assert row is not None
    return EnrolledDated(due=row["due"], enrolled=row["enrolled"])
