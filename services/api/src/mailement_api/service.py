"""The api as a service: the HTTP server, the relay, and what they need."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import uvicorn

from mailement_api.app import create_app
from mailement_api.keys import KeyCache
from mailement_api.settings import ApiSettings
from mailement_common.db.checks import database_checks
from mailement_common.db.pool import close_pool, new_pool
from mailement_common.health import Check, CheckResult, EmbeddedServer, Health
from mailement_common.logs import logger
from mailement_common.outbox.relay import Relay
from mailement_newsletter.schema import MIGRATIONS

# Events leave within a second; one that waits so long says that something is wrong.
_LATE_SECONDS: Final = 30

log = logger(__name__)


class Api:
    """Ready without the broker: what it accepts waits in the outbox."""

    name = "api"

    def __init__(self, settings: ApiSettings, health: Health) -> None:
        """Opens nothing yet. `health` is what `/readyz` reports."""
        self._settings = settings
        self._health = health
        self._pool = new_pool(settings, name=self.name)
        self._relay = Relay(self._pool, settings, name=self.name)

    def checks(self) -> Mapping[str, Check]:
        checks = database_checks(self._pool, MIGRATIONS)
        if self._settings.relay_in_api:
            checks["broker"] = Check(run=self._broker, required=False)
            checks["outbox"] = Check(run=self._outbox, required=False)
        return checks

    async def run(self, stop: asyncio.Event) -> None:
        await self._pool
        keys = KeyCache(self._pool)
        app = create_app(
            pool=self._pool, settings=self._settings, health=self._health, wake=self._relay.wake, keys=keys
        )
        server = EmbeddedServer(
            uvicorn.Config(
                app,
                host=self._settings.http_host,
                port=self._settings.http_port,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                # We never ask who the client is, so nobody has to be believed about it.
                proxy_headers=False,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=int(self._settings.drain_seconds),
            )
        )
        served = asyncio.Event()
        background = [
            asyncio.create_task(keys.listen(self._settings, served)),
            asyncio.create_task(keys.note_uses(served)),
        ]
        if self._settings.relay_in_api:
            background.append(asyncio.create_task(self._relay.run(served)))
        closing = asyncio.create_task(_close_when(stop, server))
        try:
            await server.serve()
        finally:
            closing.cancel()
            # The relay goes last: it takes along what the final requests have written.
            served.set()
            await asyncio.gather(*background, return_exceptions=True)
            await close_pool(self._pool)

    async def _outbox(self) -> CheckResult:
        seconds = self._relay.oldest_seconds
        late = seconds > _LATE_SECONDS
        return CheckResult(ok=not late, detail=f"an event waits for {seconds:.0f} s" if late else None)

    async def _broker(self) -> CheckResult:
        return CheckResult(
            ok=self._relay.connected, detail=None if self._relay.connected else "not connected"
        )


async def _close_when(stop: asyncio.Event, server: EmbeddedServer) -> None:
    await stop.wait()
    server.should_exit = True
