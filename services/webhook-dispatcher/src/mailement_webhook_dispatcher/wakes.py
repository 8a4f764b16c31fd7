"""One event that comes with another, for whoever waits for the first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def wakes(event: asyncio.Event, *, on: asyncio.Event) -> AsyncIterator[None]:
    """Inside the block, `event` is set as soon as `on` is."""

    async def pass_on() -> None:
        await on.wait()
        event.set()

    waiting = asyncio.create_task(pass_on())
    try:
        yield
    finally:
        waiting.cancel()
