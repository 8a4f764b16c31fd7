"""Looks through our endpoints, again and again, for what nobody has announced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import asyncpg

from mailement_common.supervise import keep_running, wait_for
from mailement_webhook_dispatcher.wakes import wakes
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.usecases.find_due import find_due

_CHUNK: Final = 500
_PAUSE_SECONDS: Final = 1.0
_START: Final = EndpointId(0)


class Sweeper:
    """`owned` says whose; `expect` is told of each endpoint in how many seconds it has something to send."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        owned: Callable[[], Collection[Shard]],
        expect: Callable[[EndpointId, float], None],
    ) -> None:
        self._pool = pool
        self._owned = owned
        self._expect = expect
        self._after = _START
        # Since the round at hand began.
        self._asked = False
        self._hurry = asyncio.Event()

    def everywhere(self) -> None:
        """Anything may be due: look through all of them at once, without pauses.

        The round at hand is finished first and another follows, so that who asks often keeps nobody's turn from coming.
        """
        self._asked = True
        self._hurry.set()

    async def run(self, stop: asyncio.Event) -> None:
        async with wakes(self._hurry, on=stop):
            await keep_running("webhook sweep", lambda: self._sweep(stop), stop)

    async def _sweep(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if shards := self._owned():
                await self._look(shards)
            else:
                # Whoever takes some asks again.
                self._hurry.clear()
            if not self._hurry.is_set():
                await wait_for(self._hurry, _PAUSE_SECONDS)

    async def _look(self, shards: Collection[Shard]) -> None:
        if self._after == _START:
            self._asked = False
        swept = await find_due(self._pool, shards=shards, after=self._after, limit=_CHUNK)
        for endpoint_id, seconds in swept.due.items():
            self._expect(endpoint_id, seconds)
        self._after = swept.last or _START
        if swept.last is None and not self._asked:
            self._hurry.clear()
