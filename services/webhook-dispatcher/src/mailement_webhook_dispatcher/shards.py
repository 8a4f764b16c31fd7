"""Which endpoints are this dispatcher's: 64 shards, divided among all that run.

A shard is owned through an advisory lock of one connection, and claims run on that very connection: whoever has lost
the locks cannot claim. It listens too, so that nothing is owned without hearing what is due.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import ceil
from typing import Final

import asyncpg

from mailement_common.db.pool import connect
from mailement_common.db.sql import queries_beside
from mailement_common.logs import logger
from mailement_common.settings import DatabaseSettings
from mailement_common.supervise import keep_running
from mailement_webhook_dispatcher.wakes import wakes
from mailement_webhooks.database import BY_INDEX
from mailement_webhooks.ids import Shard

SQL: Final = queries_beside(__file__)

SHARDS: Final = 64
ALL_SHARDS: Final = frozenset(Shard(number) for number in range(SHARDS))

# Two words of the locks' names: "wsha" in ASCII; the other counts from 0, and the last of it is for being there.
_LOCK: Final = 0x77736861
_PRESENCE: Final = SHARDS
_PAUSE_SECONDS: Final = 0.5
# A connection on which one statement takes longer is given up, and with it all that it owns.
_LONGEST_USE: Final = 20.0
_SESSION: Final = {
    **BY_INDEX,
    # A lease begins with the claim: what is left of it must be enough for a post and its record.
    "statement_timeout": "5s",
    "jit": "off",
    # Neither side waits long for one that has vanished: the locks must not outlive their owner.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}

Listener = Callable[[str], None]

log = logger(__name__)


class NotConnected(ConnectionError):
    """There is no connection at present that could own anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What the owner of shards is told. `taken` runs before anything of the new shards can be claimed.

    `given_up`: nothing of them may be claimed any more, from this moment on. `busy`: shards with something under way,
    which are not given up before that is over. `hears`: channels of the database, and who listens to them.
    """

    taken: Callable[[asyncpg.Connection, Collection[Shard]], Awaitable[None]]
    given_up: Callable[[Collection[Shard]], None]
    busy: Callable[[], Collection[Shard]]
    hears: dict[str, Listener]


def share(replicas: int) -> int:
    """How many shards each may have; together they cover all."""
    return ceil(SHARDS / max(replicas, 1))


def surplus(owned: Collection[Shard], busy: Collection[Shard], most: int) -> frozenset[Shard]:
    """Those to be given up, first the ones that have nothing under way."""
    in_order = sorted(owned, key=lambda shard: (shard in busy, shard))
    return frozenset(in_order[: max(len(owned) - most, 0)])


class ShardOwner:
    def __init__(self, settings: DatabaseSettings, owner: Owner) -> None:
        self._settings = settings
        self._owner = owner
        self._owned: frozenset[Shard] = frozenset()
        self._leaving: frozenset[Shard] = frozenset()
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()
        self._stirred = asyncio.Event()

    @property
    def owned(self) -> frozenset[Shard]:
        """Those whose deliveries may be claimed."""
        return self._owned - self._leaving

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """The connection that owns the shards, for as long as one statement takes.

        Raises NotConnected; TimeoutError, and then the connection is lost too.
        """
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise NotConnected("no connection that owns shards")
            try:
                async with asyncio.timeout(_LONGEST_USE):
                    yield connection
            except TimeoutError:
                connection.terminate()
                raise

    async def run(self, stop: asyncio.Event) -> None:
        """Owns its share until `stop`, then gives up each shard as soon as it has nothing under way."""
        async with wakes(self._stirred, on=stop):
            await keep_running("webhook shards", lambda: self._own(stop), stop)

    def stir(self) -> None:
        """Something is over: a shard that waited for it may be given up."""
        if self._leaving:
            self._stirred.set()

    async def _own(self, stop: asyncio.Event) -> None:
        connection = await connect(self._settings, name="webhook-dispatcher shards", server_settings=_SESSION)
        connection.add_termination_listener(self._lost)
        try:
            async with asyncio.timeout(_LONGEST_USE):
                await self._appear(connection)
            self._connection = connection
            while not stop.is_set():
                async with self.connection():
                    await self._balance(connection)
                await self._pause()
            await self._leave(connection)
        finally:
            self._connection = None
            self._lose(self._owned)
            await _close(connection)

    async def _appear(self, connection: asyncpg.Connection) -> None:
        for channel, listener in self._owner.hears.items():
            await connection.add_listener(channel, _payload_to(listener))
        await connection.execute(SQL["appear"], _LOCK, _PRESENCE)

    async def _pause(self) -> None:
        self._stirred.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE_SECONDS):
                await self._stirred.wait()

    async def _balance(self, connection: asyncpg.Connection) -> None:
        most = share(await connection.fetchval(SQL["replicas"], _LOCK, _PRESENCE))
        busy = self._owner.busy()
        self._leaving = surplus(self._owned, busy, most)
        await self._give_up(connection, self._leaving.difference(busy), reason="share")
        if len(self._owned) < most:
            await self._take(connection, most - len(self._owned))

    async def _take(self, connection: asyncpg.Connection, wanted: int) -> None:
        candidates = list(ALL_SHARDS - self._owned)
        # Those that start together would else ask for the same ones.
        random.shuffle(candidates)
        rows = await connection.fetch(SQL["take"], _LOCK, candidates, wanted)
        taken = frozenset(Shard(row["shard"]) for row in rows)
        if taken:
            # Before it is told: if that fails, they are given up with all others.
            self._owned |= taken
            await self._owner.taken(connection, taken)
            log.info("webhook.shards_taken", shards=len(taken), owned=len(self._owned))

    async def _give_up(
        self, connection: asyncpg.Connection, shards: frozenset[Shard], *, reason: str
    ) -> None:
        if shards:
            self._lose(shards)
            await connection.fetch(SQL["give_up"], _LOCK, sorted(shards))
            log.info("webhook.shards_given_up", shards=len(shards), owned=len(self._owned), reason=reason)

    async def _leave(self, connection: asyncpg.Connection) -> None:
        async with self.connection():
            await connection.execute(SQL["leave"], _LOCK, _PRESENCE)
            self._leaving = self._owned
        while self._owned:
            async with self.connection():
                await self._give_up(connection, self._owned.difference(self._owner.busy()), reason="stopping")
            if self._owned:
                await self._pause()

    def _lost(self, _connection: object) -> None:
        if self._connection is not None:
            self._connection = None
            log.warning("webhook.shards_given_up", shards=len(self._owned), owned=0, reason="connection lost")
            self._lose(self._owned)
        self._stirred.set()

    def _lose(self, shards: frozenset[Shard]) -> None:
        self._owned -= shards
        self._leaving -= shards
        if shards:
            self._owner.given_up(shards)


def _payload_to(listener: Listener) -> Callable[[object, int, str, object], None]:
    def heard(_connection: object, _process: int, _channel: str, payload: object) -> None:
        listener(str(payload))

    return heard


async def _close(connection: asyncpg.Connection) -> None:
    """Without much ado: the server frees the locks when the connection is gone."""
    try:
        await connection.close(timeout=2)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
