"""Statements for many rows out of calls for one: whoever comes while a batch is under way joins the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Batcher(Generic[ItemT, ResultT]):
    """`run` gets the waiting items, at least one, and answers with one result for each, in order."""

    def __init__(self, run: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT]]]) -> None:
        self._run = run
        self._waiting: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: ItemT) -> ResultT:
        """The result for this item. Raises what the batch raised."""
        answer: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._work_off())
        return await answer

    async def close(self) -> None:
        """Gives up what is under way; whoever waits for it is cancelled."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._answer(batch)
        finally:
            self._running = None

    async def _answer(self, batch: list[tuple[ItemT, asyncio.Future[ResultT]]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, answer in (*batch, *self._waiting):
                answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001  it belongs to those who wait
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for (_, answer), result in zip(batch, results, strict=True):
                if not answer.done():
                    answer.set_result(result)
