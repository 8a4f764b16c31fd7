"""How dispatchers share the endpoints, and take over from one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest

from mailement_common.settings import DatabaseSettings
from mailement_webhook_dispatcher.shards import ALL_SHARDS, NotConnected, Owner, ShardOwner
from mailement_webhooks.ids import Shard
from tests.support.database import Database


@dataclass(slots=True)
class _Dispatcher:
    """Only what of it owns shards."""

    owner: ShardOwner
    stop: asyncio.Event
    busy: set[Shard] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)

    @property
    def owned(self) -> frozenset[Shard]:
        return self.owner.owned


@asynccontextmanager
async def _running(database: Database) -> AsyncIterator[_Dispatcher]:
    busy: set[Shard] = set()
    heard: list[str] = []

    async def taken(_connection: asyncpg.Connection, _shards: Collection[Shard]) -> None:
        pass

    owner = ShardOwner(
        DatabaseSettings(database_url=database.url),
        Owner(taken=taken, given_up=lambda _: None, busy=lambda: busy, hears={"webhook_due": heard.append}),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(owner.run(stop))
    try:
        yield _Dispatcher(owner=owner, stop=stop, busy=busy, heard=heard)
    finally:
        busy.clear()
        stop.set()
        await running


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)


async def _kill(database: Database) -> None:
    """The oldest of the connections that own shards."""
    await database.pool.execute(
        """SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a
        WHERE a.application_name = 'mailement-webhook-dispatcher shards' AND a.datname = current_database()
        ORDER BY a.backend_start LIMIT 1"""
    )


async def test_one_that_is_alone_owns_all(database: Database) -> None:
    async with _running(database) as alone:
        await _until(lambda: alone.owned == ALL_SHARDS)


@pytest.mark.parametrize("replicas", [2, 3])
async def test_several_own_a_share_each_and_no_shard_twice(database: Database, replicas: int) -> None:
    async with AsyncExitStack() as stack:
        several = [await stack.enter_async_context(_running(database)) for _ in range(replicas)]
        await _until(lambda: _shared(several))
        assert sum(len(one.owned) for one in several) == 64


def _shared(several: list[_Dispatcher]) -> bool:
    together: frozenset[Shard] = frozenset().union(*(one.owned for one in several))
    return together == ALL_SHARDS and max(len(one.owned) for one in several) <= -(-64 // len(several))


async def test_when_one_leaves_the_other_takes_over(database: Database) -> None:
    async with _running(database) as staying:
        async with _running(database) as leaving:
            await _until(lambda: _shared([staying, leaving]))
        await _until(lambda: staying.owned == ALL_SHARDS)


async def test_who_loses_the_connection_has_lost_everything_and_begins_anew(database: Database) -> None:
    async with _running(database) as first, _running(database) as second:
        await _until(lambda: _shared([first, second]))
        await _kill(database)
        await _until(lambda: not first.owned or not second.owned)
        await _until(lambda: _shared([first, second]))


async def test_without_a_connection_nothing_can_be_claimed(database: Database) -> None:
    async with _running(database) as alone:
        await _until(lambda: alone.owned == ALL_SHARDS)
        await _kill(database)
        await _until(lambda: not alone.owner.connected)
        with pytest.raises(NotConnected):
            async with alone.owner.connection():
                pass


async def test_a_shard_with_something_under_way_is_given_up_when_that_is_over(database: Database) -> None:
    async with _running(database) as busy:
        await _until(lambda: busy.owned == ALL_SHARDS)
        busy.busy |= ALL_SHARDS
        async with _running(database) as new:
            # None of these can be claimed for any more, and none is another's yet.
            await _until(lambda: len(busy.owned) == 32)
            assert new.owned == frozenset()

            busy.busy -= set(range(40))
            busy.owner.stir()

            await _until(lambda: len(new.owned) == 32)


async def test_the_owner_hears_what_is_due(database: Database) -> None:
    async with _running(database) as alone:
        await _until(lambda: alone.owner.connected)
        await database.pool.execute("SELECT pg_notify('webhook_due', '7,8')")
        await _until(lambda: alone.heard == ["7,8"])
