"""The relay: outbox → broker, at least once, in batches.

Claim and publish share a transaction: a batch that is not confirmed rolls back and is tried again, so a crash
can repeat a batch but never lose one. Any number of relays run side by side.
"""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from mailement_common.bus.publisher import NotPublished, Publisher, Unroutable
from mailement_common.db.sql import queries_beside
from mailement_common.events.envelope import Envelope
from mailement_common.ids import BrandId, EventId
from mailement_common.logs import logger
from mailement_common.metrics import OUTBOX_BURIED, OUTBOX_OLDEST, OUTBOX_PUBLISHED
from mailement_common.outbox.event_log import keep_event_log
from mailement_common.settings import BrokerSettings
from mailement_common.supervise import first_of, keep_running, wait_for

SQL: Final = queries_beside(__file__)

_BATCH: Final = 200
_SWEEP_SECONDS: Final = 1.0
_WATCH_SECONDS: Final = 5.0

log = logger(__name__)


class Relay:
    """`wake` is called after a commit that wrote events; a sweep every second finds what nobody announced."""

    def __init__(self, pool: asyncpg.Pool, settings: BrokerSettings, *, name: str) -> None:
        self._pool = pool
        self._keep_days = settings.event_log_days
        self._oldest_seconds = 0.0
        self._publisher = Publisher(settings, name=name)
        self._woken = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._publisher.connected

    @property
    def oldest_seconds(self) -> float:
        """How long the event that is next had been waiting when it was last looked at, some seconds ago."""
        return self._oldest_seconds

    def wake(self) -> None:
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Relays, and keeps the event log, until `stop`; then relays once more what is left."""
        beside = [
            asyncio.create_task(keep_running("outbox age", lambda: self._watch(stop), stop)),
            asyncio.create_task(keep_running("event log", lambda: self._keep_log(stop), stop)),
        ]
        try:
            await keep_running("outbox relay", lambda: self._run_once(stop), stop)
            if self.connected:
                await self._drain()
        except (NotPublished, asyncpg.PostgresError, OSError) as error:
            log.info("outbox.left_over", reason=type(error).__name__)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._publisher.close()

    async def _watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._oldest_seconds = await self._pool.fetchval(SQL["oldest"]) or 0.0
            OUTBOX_OLDEST.set(self._oldest_seconds)
            await wait_for(stop, _WATCH_SECONDS)

    async def _keep_log(self, stop: asyncio.Event) -> None:
        await keep_event_log(self._pool, stop, keep_days=self._keep_days)

    async def _run_once(self, stop: asyncio.Event) -> None:
        await self._publisher.connect(stop)
        while not stop.is_set():
            self._woken.clear()
            await self._drain()
            await first_of(self._woken, stop, seconds=_SWEEP_SECONDS)

    async def _drain(self) -> None:
        while await self._relay_batch(_BATCH) == _BATCH:
            pass

    async def _relay_batch(self, size: int) -> int:
        try:
            return await self._publish(size)
        except Unroutable as refusal:
            log.warning("outbox.batch_refused", reason=str(refusal))
            return await self._publish_singly(size)

    async def _publish(self, size: int) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(SQL["claim"], size)
            await self._publisher.publish([_envelope(row) for row in rows])
        OUTBOX_PUBLISHED.inc(len(rows))
        return len(rows)

    async def _publish_singly(self, size: int) -> int:
        relayed = 0
        async with self._pool.acquire() as connection, connection.transaction():
            for row in await connection.fetch(SQL["claim"], size):
                try:
                    await self._publisher.publish([_envelope(row)])
                except Unroutable as refusal:
                    await connection.execute(SQL["bury"], *row.values(), str(refusal))
                    OUTBOX_BURIED.inc()
                    log.error(
                        "outbox.buried", event_id=str(row["event_id"]), type=row["type"], reason=str(refusal)
                    )
                relayed += 1
        return relayed


def _envelope(row: asyncpg.Record) -> Envelope:
    return Envelope(
        id=EventId(row["event_id"]),
        type=row["type"],
        brand_id=BrandId(row["brand_id"]),
        occurred_at=row["occurred_at"],
        data=row["data"],
        traceparent=row["traceparent"],
    )
