"""The tick: advance everything that is due, then sleep until the next step, an event, or a second has passed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import asyncpg
from prometheus_client import Counter

from mailement_common.clock import Clock
from mailement_common.logs import logger
from mailement_common.supervise import first_of
from mailement_drip_scheduler.floors import FloorBook
from mailement_newsletter.usecases.advance_drips import (
    ALL_DRIPS,
    REFUSED,
    Advanced,
    Share,
    advance_apart,
    advance_drips,
    next_due,
)

# Longest sleep: finds what no event announced, such as a drip that was resumed.
_SWEEP_SECONDS: Final = 1.0
# Shortest: a step that is due in a moment is not worth a spin.
_SHORTEST_SECONDS: Final = 0.01
# When a batch cannot be carried out: so many drips are taken one after the other before the next batch is tried.
_APART: Final = 100

_STEPS: Final = Counter("mailement_drip_steps_total", "Due steps taken.")
_QUEUED: Final = Counter("mailement_drip_messages_total", "Messages that steps have queued.")

log = logger(__name__)


class Ticker:
    """Serves its share of the drips. Any number of these may run against one database; locked rows are skipped."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        clock: Clock,
        *,
        batch: int,
        queued: Callable[[], None],
        share: Share = ALL_DRIPS,
        sweep_seconds: float = _SWEEP_SECONDS,
    ) -> None:
        """`queued` is called after a commit that queued messages."""
        self._pool = pool
        self._clock = clock
        self._batch = batch
        self._queued = queued
        self._share = share
        self._sweep_seconds = sweep_seconds
        self._woken = asyncio.Event()
        self._floors = FloorBook()
        # Where the last batch ended, so that a busy drip does not keep the others waiting.
        self._behind = 0

    def wake(self) -> None:
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._woken.clear()
            await self.advance_all(stop)
            await self._sleep(stop)

    async def advance_all(self, stop: asyncio.Event) -> None:
        """Batch after batch, each its own transaction, until nothing is due."""
        while not stop.is_set():
            done = await self._advance()
            if not done.due:
                return
            self._behind = done.last_drip_id
            for drip, claimed in done.drips.items():
                self._floors.note(drip, claimed)
            _STEPS.inc(done.due)
            _QUEUED.inc(done.queued)
            log.info("drip.advanced", due=done.due, queued=done.queued)
            if done.queued:
                self._queued()

    async def _advance(self) -> Advanced:
        now = self._clock.now()
        try:
            return await advance_drips(
                self._pool,
                now=now,
                behind=self._behind,
                batch=self._batch,
                share=self._share,
                floors=self._floors.floors,
            )
        except REFUSED as error:
            # One run in the batch holds data that the statement cannot bear: the others shall not wait for it.
            log.error("drip.batch_refused", reason=type(error).__name__)
            return await advance_apart(
                self._pool, now=now, behind=self._behind, batch=_APART, share=self._share
            )

    async def _sleep(self, stop: asyncio.Event) -> None:
        moment = await next_due(self._pool, self._share, self._floors.floors)
        seconds = self._sweep_seconds
        if moment is not None:
            seconds = min(seconds, (moment - self._clock.now()).total_seconds())
        await first_of(self._woken, stop, seconds=max(seconds, _SHORTEST_SECONDS))
