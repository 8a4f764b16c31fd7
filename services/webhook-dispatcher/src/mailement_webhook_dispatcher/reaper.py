"""Finds, second by second, the deliveries of dispatchers that died."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import asyncpg

from mailement_common.logs import logger
from mailement_common.supervise import keep_running, wait_for
from mailement_webhook_dispatcher.metrics import ATTEMPTS
from mailement_webhooks.deliveries import AttemptOutcome
from mailement_webhooks.usecases.reopen_expired import reopen_expired

_PAUSE_SECONDS: Final = 1.0

log = logger(__name__)


async def reap(pool: asyncpg.Pool, stop: asyncio.Event, *, wake: Callable[[], None]) -> None:
    """Reopens expired leases until `stop`; `wake` is called when there were any."""

    async def sweep() -> None:
        while not stop.is_set():
            if reopened := await reopen_expired(pool):
                ATTEMPTS.labels(AttemptOutcome.INTERRUPTED).inc(reopened)
                log.warning("webhook.interrupted", deliveries=reopened)
                wake()
            else:
                await wait_for(stop, _PAUSE_SECONDS)

    await keep_running("webhook reaper", sweep, stop)
