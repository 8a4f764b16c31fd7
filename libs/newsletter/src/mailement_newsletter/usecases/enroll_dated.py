"""Enrol dated: those whose day of a date trigger has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import SubscriberId
from mailement_common.logs import logger
from mailement_newsletter.ids import DripId, RunId
from mailement_newsletter.usecases.advance_drips import REFUSED
from mailement_newsletter.usecases.drip_rows import transaction
from mailement_newsletter.usecases.restart_runs import restart_runs

SQL: Final = queries_beside(__file__)

# After a refusal so many dates are taken one after the other, before the next batch is tried.
_ONE_BY_ONE: Final = 50

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledDated:
    """`due` days had come, `enrolled` runs began by them; the next call goes on behind `last_drip_id`."""

    due: int
    enrolled: int
    last_drip_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Date:
    drip: DripId
    subscriber: SubscriberId


async def enroll_dated(pool: asyncpg.Pool, *, now: datetime, behind: int, batch: int) -> EnrolledDated:
    """One batch, one transaction. Drips are served in turn, beginning behind the id `behind`.

    Where the database refuses a batch, date by date, and the one that is refused is put off.
    """
    try:
        return await _enroll(pool, now, behind, batch)
    except REFUSED as error:
        log.error("drip.dates_refused", reason=type(error).__name__)
        return await _one_by_one(pool, now, behind)


async def _one_by_one(pool: asyncpg.Pool, now: datetime, behind: int) -> EnrolledDated:
    done = EnrolledDated(due=0, enrolled=0, last_drip_id=behind)
    for row in await pool.fetch(SQL["due"], now, behind, _ONE_BY_ONE):
        date = _Date(drip=DripId(row["drip_id"]), subscriber=SubscriberId(row["subscriber_id"]))
        try:
            enrolled = (await _enroll(pool, now, behind, 1, date)).enrolled
        except REFUSED as error:
            log.error(
                "drip.date_refused",
                drip_id=date.drip,
                subscriber_id=date.subscriber,
                reason=type(error).__name__,
            )
            await pool.execute(SQL["put_off"], date.drip, date.subscriber, now)
            enrolled = 0
        done = EnrolledDated(due=done.due + 1, enrolled=done.enrolled + enrolled, last_drip_id=date.drip)
    return done


async def _enroll(
    pool: asyncpg.Pool, now: datetime, behind: int, batch: int, date: _Date | None = None
) -> EnrolledDated:
    """Of all dates that are due, or of one alone."""
    whose = (None, None) if date is None else (date.drip, date.subscriber)
    async with transaction(pool) as connection:
        row = await connection.fetchrow(SQL["enroll"], now, behind, batch, *whose)
        assert row is not None
        enrolled: int = row["enrolled"]
        if row["giving_way"]:
            await restart_runs(connection, [RunId(run) for run in row["giving_way"]], now=now)
            # Their dates are due still; what else has become due may come along.
            anew = await connection.fetchrow(SQL["enroll"], now, behind, batch, *whose)
            assert anew is not None
            enrolled += anew["enrolled"]
    return EnrolledDated(due=row["due"], enrolled=enrolled, last_drip_id=row["last_drip_id"])
