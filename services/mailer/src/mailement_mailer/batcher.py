"""Statements for many rows out of calls for one: whoever comes while a batch is under way joins the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


# A batch that follows another within this time belongs to a stream of them.
_STREAM_SECONDS: Final = 0.05


class Batcher(Generic[ItemT, ResultT]):
    """`run` gets the waiting items, at least one, and answers with one result for each, in order.

    `linger`: in a stream of batches, so many seconds are waited for others to come along. Whoever comes alone never waits.
    """

    def __init__(
        self, run: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT]]], *, linger: float = 0.0
    ) -> None:
        self._run = run
        self._linger = linger
        self._ended_at = 0.0
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
            # A task that had not begun yet has cancelled nobody.
            for _, answer in self._waiting:
                answer.cancel()

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                if self._linger and self._clock() - self._ended_at < _STREAM_SECONDS:
                    await asyncio.sleep(self._linger)
                batch, self._waiting = self._waiting, []
                await self._answer(batch)
                self._ended_at = self._clock()
        finally:
            self._running = None

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()

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
