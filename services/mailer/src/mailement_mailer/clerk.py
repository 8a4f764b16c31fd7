"""Starts and outcomes of mails, written down for as many at a time as come together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import asyncpg

from mailement_common.clock import Clock
from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.logs import logger
from mailement_common.supervise import pauses
from mailement_mailer.batcher import Batcher
from mailement_mailer.rounds import LEASE
from mailement_newsletter.queries import messages
from mailement_newsletter.queries.messages import Departure, Fate, Lease

# What a mail may wait for others, so that a statement carries many.
_LINGER_SECONDS: Final = 0.01

ResultT = TypeVar("ResultT")

log = logger(__name__)


class Clerk:
    """Asks again while the database is away: what has become of a mail must not be forgotten over a restart."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._start: Batcher[Sequence[Departure], set[Lease]] = Batcher(
            self._start_all, linger=_LINGER_SECONDS
        )
        self._record: Batcher[Sequence[Fate], set[Lease]] = Batcher(self._record_all, linger=_LINGER_SECONDS)

    async def start(self, departures: Sequence[Departure]) -> set[Lease]:
        """Those that are still ours to send; all of them are frozen in one statement."""
        return await self._start(departures)

    async def record(self, fates: Sequence[Fate]) -> set[Lease]:
        """Those that were still ours, or that nobody has touched since they ceased to be."""
        return await self._record(fates)

    async def close(self) -> None:
        await self._start.close()
        await self._record.close()

    async def _start_all(self, groups: Sequence[Sequence[Departure]]) -> list[set[Lease]]:
        departures = [departure for group in groups for departure in group]
        started = await _patiently(lambda: self._start_now(departures))
        return [started & {departure.lease for departure in group} for group in groups]

    async def _start_now(self, departures: Sequence[Departure]) -> set[Lease]:
        now = self._clock.now()
        return await messages.start(self._pool, departures, now=now, lease_until=now + LEASE)

    async def _record_all(self, groups: Sequence[Sequence[Fate]]) -> list[set[Lease]]:
        fates = [fate for group in groups for fate in group]
        recorded = await _patiently(lambda: messages.record(self._pool, fates))
        return [recorded & {fate.lease for fate in group} for group in groups]


async def _patiently(work: Callable[[], Awaitable[ResultT]]) -> ResultT:
    waits = pauses()
    while True:
        try:
            return await work()
        # Somebody who locks the ledger for longer than a statement may take is no reason to forget either.
        except (*DATABASE_UNABLE, asyncpg.QueryCanceledError) as error:
            pause = next(waits)
            log.warning("database.unable", reason=type(error).__name__, retry_in_seconds=pause)
            await asyncio.sleep(pause)
