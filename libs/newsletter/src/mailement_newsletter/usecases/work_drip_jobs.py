"""Work on drips' jobs: what an edit asks of every run or subscriber, slice by slice, so that nothing waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import SubscriberId
from mailement_common.logs import logger
from mailement_newsletter.ids import DripId
from mailement_newsletter.usecases.advance_drips import REFUSED
from mailement_newsletter.usecases.fold_tallies import alone_with_tallies
from mailement_newsletter.usecases.plan_dates import plan_dates

SQL: Final = queries_beside(__file__)

_ERROR_CHARACTERS: Final = 500
_RECOUNT_TAKES: Final = timedelta(minutes=10)
# The server is the first to give up, and says why.
_CLIENT_WAITS: Final = _RECOUNT_TAKES + timedelta(seconds=5)

log = logger(__name__)


class DripJobKind(StrEnum):
    RETIME = "retime"
    PLAN_DATES = "plan_dates"
    FORGET_DATES = "forget_dates"
    RECOUNT = "recount"
    RESPACE = "respace"


# Done twice: a statement that read the drip before a change may still write a moment behind the job. And for nobody, if
# nothing of the drip will run any more.
_RECKON_MOMENTS: Final = frozenset({DripJobKind.RETIME, DripJobKind.PLAN_DATES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What was done of a job: `seen` rows looked at, up to subscriber `reached`."""

    seen: int
    reached: int | None


async def work_drip_job(pool: asyncpg.Pool, *, now: datetime, size: int) -> bool:
    """One slice of the job whose turn it is, in one transaction; False when there is no job that nobody else works on.

    A job that the database refuses, or does not get done in time, is put off, so that the others go on.
    """
    async with pool.acquire() as connection, connection.transaction():
        job = await connection.fetchrow(SQL["take"])
        if job is None:
            return False
        kind = DripJobKind(job["kind"])
        if job["is_archived"] and kind in _RECKON_MOMENTS:
            await connection.execute(SQL["finish"], job["id"])
            return True
        try:
            async with connection.transaction():
                done = await _work(connection, kind, job, now=now, size=size)
        except (*REFUSED, TimeoutError) as error:
            reason = f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]
            log.error("drip.job_refused", drip_id=job["drip_id"], kind=kind, reason=type(error).__name__)
            await connection.execute(SQL["put_off"], job["id"], reason)
            return True
        if done.seen >= size:
            await connection.execute(SQL["move_on"], job["id"], done.reached)
        elif kind in _RECKON_MOMENTS and job["pass"] == 1:
            await connection.execute(SQL["pass_again"], job["id"])
        else:
            await connection.execute(SQL["finish"], job["id"])
    return True


async def _work(
    connection: Connection, kind: DripJobKind, job: asyncpg.Record, *, now: datetime, size: int
) -> Slice:
    drip, after = DripId(job["drip_id"]), job["after_id"]
    match kind:
        case DripJobKind.RETIME:
            row = await connection.fetchrow(SQL["retime"], drip, after, size, now)
        case DripJobKind.RESPACE:
            row = await connection.fetchrow(
                SQL["respace"], drip, after, size, job["params"]["old"], job["params"]["new"]
            )
        case DripJobKind.FORGET_DATES:
            row = await connection.fetchrow(SQL["forget_dates"], drip, after, size)
        case DripJobKind.PLAN_DATES:
            rows = await connection.fetch(SQL["slice_of_brand"], drip, after, size)
            subscribers = [SubscriberId(row["id"]) for row in rows]
            await plan_dates(connection, subscribers, drip=drip)
            return Slice(seen=len(subscribers), reached=subscribers[-1] if subscribers else None)
        case DripJobKind.RECOUNT:
            await alone_with_tallies(connection)
            await connection.execute(SQL["take_time"], f"{_RECOUNT_TAKES.total_seconds():.0f}s")
            await connection.execute(SQL["recount"], drip, timeout=_CLIENT_WAITS.total_seconds())
            return Slice(seen=0, reached=None)
        case _:
            assert_never(kind)
    assert row is not None
    return Slice(seen=row["seen"], reached=row["reached"])
