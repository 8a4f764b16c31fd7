"""The sweep through the endpoints, whatever it is told meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import asyncpg

from mailement_webhook_dispatcher.shards import ALL_SHARDS
from mailement_webhook_dispatcher.sweep import Sweeper
from mailement_webhooks.ids import EndpointId

_ENDPOINTS = 1_700
_ROUNDS_WORTH = 4


class _Endpoints:
    """All of which have something due. `sweeper` is told to look everywhere whenever it looks."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.sweeper: Sweeper | None = None
        self._stop = stop
        self._looks = 0

    async def fetch(
        self, _query: str, _shards: Sequence[int], after: int, limit: int
    ) -> list[dict[str, float]]:
        assert self.sweeper is not None
        self._looks += 1
        if self._looks == _ROUNDS_WORTH:
            self._stop.set()
        self.sweeper.everywhere()
        return [
            {"id": number, "due_in": 0.0} for number in range(after + 1, min(after + limit, _ENDPOINTS) + 1)
        ]


async def test_who_asks_for_everything_again_and_again_keeps_it_from_nobody() -> None:
    stop, found = asyncio.Event(), set[EndpointId]()
    endpoints = _Endpoints(stop)
    endpoints.sweeper = Sweeper(
        cast("asyncpg.Pool", endpoints),
        owned=lambda: ALL_SHARDS,
        expect=lambda endpoint_id, _: found.add(endpoint_id),
    )

    await endpoints.sweeper.run(stop)

    assert len(found) == _ENDPOINTS
