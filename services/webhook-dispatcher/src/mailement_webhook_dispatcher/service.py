"""The webhook dispatcher as a service: consumes events, delivers them, repairs what a crash left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import asyncpg

from mailement_common.bus.consumer import Consumer
from mailement_common.bus.topology import WEBHOOKS
from mailement_common.clock import Clock, SystemClock
from mailement_common.db.checks import database_checks
from mailement_common.db.pool import close_pool, new_pool
from mailement_common.health import Check, CheckResult
from mailement_common.sealing import KeyRing
from mailement_newsletter.schema import MIGRATIONS
from mailement_webhook_dispatcher.deliverer import Deliverer
from mailement_webhook_dispatcher.handlers import ingest
from mailement_webhook_dispatcher.reaper import reap
from mailement_webhook_dispatcher.recorder import Recorder
from mailement_webhook_dispatcher.sender import CONNECT_SECONDS, TOTAL_SECONDS, Sender
from mailement_webhook_dispatcher.settings import DispatcherSettings
from mailement_webhooks.rules.guard import Guard

# For whatever stands between the end of a POST and its row in the ledger.
_LEASE_MARGIN_SECONDS: Final = 10
# Ingest, claim, record, reap, and two for the checks: more could not be used at once.
_MOST_CONNECTIONS: Final = 6


class WebhookDispatcher:
    """Raises BadKeyRing if the settings' keys cannot be used."""

    name = "webhook-dispatcher"

    def __init__(
        self,
        settings: DispatcherSettings,
        *,
        clock: Clock | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._keys = KeyRing(settings.secret_keys.get_secret_value())
        self._guard = Guard(allow=settings.webhook_allow_cidrs)
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._pool = new_pool(
            settings, name=self.name, size=min(settings.database_pool_size, _MOST_CONNECTIONS)
        )
        self._consumer: Consumer | None = None

    def checks(self) -> Mapping[str, Check]:
        """The broker is only reported: what is in the ledger is delivered without it."""
        return {
            **database_checks(self._pool, MIGRATIONS),
            "broker": Check(run=self._broker, required=False),
        }

    async def run(self, stop: asyncio.Event) -> None:
        await self._pool
        try:
            await self._run(self._pool, stop)
        finally:
            await close_pool(self._pool)

    async def _run(self, pool: asyncpg.Pool, stop: asyncio.Event) -> None:
        recorder = Recorder(pool)
        async with Sender(
            self._guard, connect_seconds=self._connect_seconds, total_seconds=self._total_seconds
        ) as sender:
            deliverer = Deliverer(
                pool,
                sender,
                recorder,
                self._keys,
                self._clock,
                slots=self._settings.webhook_concurrency,
                endpoint_limit=self._settings.webhook_endpoint_concurrency,
                lease_seconds=self._total_seconds + _LEASE_MARGIN_SECONDS,
            )
            self._consumer = Consumer(
                self._settings, WEBHOOKS, ingest(pool, wake=deliverer.wake), name=self.name
            )
            recording = asyncio.create_task(recorder.run())
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._consumer.run(stop))
                    group.create_task(deliverer.run(stop))
                    group.create_task(reap(pool, stop, wake=deliverer.wake))
            finally:
                recording.cancel()

    async def _broker(self) -> CheckResult:
        return CheckResult(ok=self._consumer is not None and self._consumer.connected)
