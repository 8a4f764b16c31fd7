"""The drip scheduler as a service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from mailement_common.bus.consumer import Consumer
from mailement_common.bus.topology import DRIPS
from mailement_common.db.checks import database_checks
from mailement_common.db.clock import DatabaseClock
from mailement_common.db.pool import PLANNED_EACH_TIME, close_pool, new_pool
from mailement_common.events.envelope import Envelope
from mailement_common.health import Check, CheckResult
from mailement_common.logs import logger
from mailement_common.outbox.relay import Relay
from mailement_common.supervise import keep_running
from mailement_drip_scheduler.handlers import handle
from mailement_drip_scheduler.housekeeping import Housekeeper
from mailement_drip_scheduler.settings import SchedulerSettings
from mailement_drip_scheduler.tick import Ticker
from mailement_newsletter.schema import MIGRATIONS
from mailement_newsletter.usecases.advance_drips import Share

# Relay, event log, consumer, clock, four for keeping house, and two for the checks; and each tick has one.
_CONNECTIONS: Final = 11

log = logger(__name__)


class DripScheduler:
    """Consumes signups, enrols, ticks. Any number of replicas, no leader."""

    name = "drip-scheduler"

    def __init__(self, settings: SchedulerSettings) -> None:
        """Opens nothing yet."""
        ticks = settings.drip_concurrency
        self._pool = new_pool(
            settings, name=self.name, size=_CONNECTIONS + ticks, server_settings=PLANNED_EACH_TIME
        )
        self._clock = DatabaseClock()
        self._relay = Relay(self._pool, settings, name=self.name)
        # Between two batches of one there are a commit, a plan and our own work; the database has the other's to do meanwhile.
        self._tickers = [
            Ticker(
                self._pool,
                self._clock,
                batch=settings.drip_batch,
                queued=self._relay.wake,
                share=Share(part=part, of=ticks),
            )
            for part in range(ticks)
        ]
        self._housekeeper = Housekeeper(
            self._pool, self._clock, keep_days=settings.drip_history_days, enrolled=self._wake
        )
        self._consumer = Consumer(settings, DRIPS, self._consume, name=self.name)

    def checks(self) -> Mapping[str, Check]:
        return {**database_checks(self._pool, MIGRATIONS), "broker": Check(run=self._broker, required=False)}

    async def run(self, stop: asyncio.Event) -> None:
        await self._pool
        ticked = asyncio.Event()
        relay = asyncio.create_task(self._relay.run(ticked))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._consumer.run(stop))
                group.create_task(
                    keep_running("clock", lambda: self._clock.keep_in_sync(self._pool, stop), stop)
                )
                for name, work in self._work().items():
                    group.create_task(keep_running(name, partial(work, stop), stop))
        finally:
            ticked.set()
            await asyncio.gather(relay, return_exceptions=True)
            await close_pool(self._pool)

    def _work(self) -> Mapping[str, Callable[[asyncio.Event], Awaitable[None]]]:
        return {
            **{f"drip tick {number}": ticker.run for number, ticker in enumerate(self._tickers)},
            "drip dates": self._housekeeper.enroll_dated,
            "drip jobs": self._housekeeper.work_jobs,
            "drip tallies": self._housekeeper.fold,
            "drip months": self._housekeeper.keep_months,
        }

    async def _consume(self, events: Sequence[Envelope]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            done = await handle(connection, events)
        if done.enrolled:
            log.info("drip.enrolled", enrolled=done.enrolled)
        if done.ended:
            log.info("drip.ended", ended=done.ended)
        self._wake()

    def _wake(self) -> None:
        for ticker in self._tickers:
            ticker.wake()

    async def _broker(self) -> CheckResult:
        connected = self._consumer.connected
        return CheckResult(ok=connected, detail=None if connected else "not consuming")
