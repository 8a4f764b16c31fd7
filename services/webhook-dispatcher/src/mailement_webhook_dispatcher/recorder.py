"""Writes results to the ledger in batches: one transaction for all that end within a few milliseconds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.logs import logger
from mailement_common.supervise import pauses, wait_for
from mailement_webhooks.usecases.record_attempts import AttemptResult, record_attempts

_BATCH: Final = 200
_LONGEST_WAIT: Final = 0.01

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    result: AttemptResult
    recorded: asyncio.Future[bool]


class Recorder:
    """`run` writes what `record` hands over, until it is cancelled."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: list[_Waiting] = []
        self._some = asyncio.Event()
        self._full = asyncio.Event()

    async def record(self, result: AttemptResult) -> bool:
        """Returns once it is committed; False if the lease had been lost and nothing was written.

        Raises what the database refused it with.
        """
        recorded: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(result, recorded))
        self._some.set()
        if len(self._waiting) >= _BATCH:
            self._full.set()
        return await recorded

    async def run(self) -> None:
        while True:
            await self._some.wait()
            await wait_for(self._full, _LONGEST_WAIT)
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            if not self._waiting:
                self._some.clear()
            if len(self._waiting) < _BATCH:
                self._full.clear()
            await self._write(batch)

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            written = await self._until_written([waiting.result for waiting in batch])
        except Exception as error:  # noqa: BLE001  handed to those who wait for it
            for waiting in batch:
                if not waiting.recorded.done():
                    waiting.recorded.set_exception(error)
            return
        for waiting in batch:
            if not waiting.recorded.done():
                waiting.recorded.set_result(waiting.result.delivery_id in written)

    async def _until_written(self, results: list[AttemptResult]) -> set[int]:
        """A database that is away is waited for: the POST has happened and must not be forgotten."""
        waits = pauses()
        while True:
            try:
                return set(await record_attempts(self._pool, results))
            except DATABASE_UNABLE as error:
                pause = next(waits)
                log.warning("database.unable", reason=type(error).__name__, retry_in_seconds=pause)
                await asyncio.sleep(pause)
