"""What the scheduler does beside the tick: dates that come, jobs that edits leave, counts to add up, months to make and drop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import asyncpg

from mailement_common.clock import Clock
from mailement_common.db.partitions import Family, Period, drop_partitions, make_partitions
from mailement_common.logs import logger
from mailement_common.supervise import wait_for
from mailement_newsletter.usecases.enroll_dated import enroll_dated
from mailement_newsletter.usecases.fold_tallies import fold_tallies
from mailement_newsletter.usecases.work_drip_jobs import work_drip_job

RUN_EVENTS: Final = Family(table="drip_run_events", column="at", period=Period.MONTH, ahead=2)
REPORTED: Final = Family(table="reported_events", column="month", period=Period.MONTH, ahead=2)
# Longer than anybody goes on asking.
_REPORTED_DAYS: Final = 31

_DATES_SECONDS: Final = 1.0
_DATES_BATCH: Final = 1000
_JOB_SLICE: Final = 5000
_JOBS_SECONDS: Final = 1.0
_FOLD_SECONDS: Final = 5.0
_FOLD_ROWS: Final = 20_000
_MONTHS_SECONDS: Final = 3600.0

log = logger(__name__)


class Housekeeper:
    """Any number of these may run against one database."""

    def __init__(
        self, pool: asyncpg.Pool, clock: Clock, *, keep_days: int, enrolled: Callable[[], None]
    ) -> None:
        """`keep_days`: how long what happened in runs is kept. `enrolled` is called when a date has started runs."""
        self._pool = pool
        self._clock = clock
        self._keep_days = keep_days
        self._enrolled = enrolled

    async def enroll_dated(self, stop: asyncio.Event) -> None:
        # Where the last batch ended, so that a drip with many dates does not keep the others waiting.
        behind = 0
        while not stop.is_set():
            done = await enroll_dated(self._pool, now=self._clock.now(), behind=behind, batch=_DATES_BATCH)
            behind = done.last_drip_id
            if done.enrolled:
                log.info("drip.enrolled", enrolled=done.enrolled)
                self._enrolled()
            if not done.due:
                await wait_for(stop, _DATES_SECONDS)

    async def work_jobs(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not await work_drip_job(self._pool, now=self._clock.now(), size=_JOB_SLICE):
                await wait_for(stop, _JOBS_SECONDS)

    async def fold(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not await fold_tallies(self._pool, limit=_FOLD_ROWS):
                await wait_for(stop, _FOLD_SECONDS)

    async def keep_months(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            async with self._pool.acquire() as connection:
                for family, days in ((RUN_EVENTS, self._keep_days), (REPORTED, _REPORTED_DAYS)):
                    await make_partitions(connection, family)
                    await drop_partitions(connection, family, keep_days=days)
            await wait_for(stop, _MONTHS_SECONDS)
