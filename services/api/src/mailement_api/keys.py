"""Known keys, remembered for a while: looking one up costs more than all the rest of a request's thinking.

A revocation is announced by the database and empties the memory at once; while nobody listens, nothing is remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import asyncpg
from cachetools import TTLCache

from mailement_common.db.pool import connect
from mailement_common.settings import DatabaseSettings
from mailement_common.supervise import first_of, keep_running, wait_for
from mailement_newsletter.usecases.authenticate import KEYS_CHANGED, KnownKey, find_key, key_hash, note_use

_REMEMBERED: Final = 50_000
_SECONDS: Final = 30
_NOTE_SECONDS: Final = 2
# Whoever waits longer for a connection is told to come back.
_LOOK_UP_SECONDS: Final = 5


class KeyCache:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known: TTLCache[bytes, KnownKey | None] = TTLCache(_REMEMBERED, _SECONDS)
        # Counts announcements: an answer that was asked for before one must not be remembered after it.
        self._generation = 0
        self._listening = False
        self._used: set[int] = set()

    async def find(self, key: str) -> KnownKey | None:
        """None when the key is unknown or revoked."""
        digest = key_hash(key)
        try:
            found = self._known[digest]
        except KeyError:
            found = await self._look_up(digest)
        if found is not None:
            self._used.add(found.id)
        return found

    async def listen(self, settings: DatabaseSettings, stop: asyncio.Event) -> None:
        """Hears announcements until `stop`."""
        await keep_running("key announcements", lambda: self._listen_once(settings, stop), stop)

    async def note_uses(self, stop: asyncio.Event) -> None:
        """Writes down every two seconds which keys were used, and once more at the end."""
        await keep_running("key uses", lambda: self._note_until(stop), stop)

    async def _note_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await wait_for(stop, _NOTE_SECONDS)
            used, self._used = self._used, set()
            if used:
                try:
                    await note_use(self._pool, used)
                except BaseException:
                    self._used |= used
                    raise

    async def _look_up(self, digest: bytes) -> KnownKey | None:
        generation = self._generation
        async with asyncio.timeout(_LOOK_UP_SECONDS):
            found = await find_key(self._pool, digest)
        if self._listening and generation == self._generation:
            self._known[digest] = found
        return found

    async def _listen_once(self, settings: DatabaseSettings, stop: asyncio.Event) -> None:
        connection = await connect(settings, name="api keys")
        lost = asyncio.Event()
        connection.add_termination_listener(_sets(lost))
        try:
            await connection.add_listener(KEYS_CHANGED, self._forget)
            self._forget()
            self._listening = True
            await first_of(stop, lost)
            if lost.is_set():
                raise ConnectionError("the listening connection was lost")
        finally:
            self._listening = False
            self._forget()
            await connection.close(timeout=2)

    def _forget(self, *_: Any) -> None:  # noqa: ANN401  asyncpg's listener gets four arguments
        self._generation += 1
        self._known.clear()


def _sets(event: asyncio.Event) -> Callable[[Any], None]:
    def terminated(_connection: object) -> None:
        event.set()

    return terminated
