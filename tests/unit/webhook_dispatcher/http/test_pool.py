"""Idle connections: few, young, and the last used first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address

import pytest

from mailement_webhook_dispatcher.http.connection import Connection
from mailement_webhook_dispatcher.http.pool import Pool
from mailement_webhook_dispatcher.http.target import Origin

_HERE = Origin(False, "here.example", 80)
_THERE = Origin(False, "there.example", 80)

Connect = Callable[[Pool], Awaitable[tuple[Connection, socket.socket]]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes a connection that tells the pool when it is lost, and hands out its other end too."""
    made: list[tuple[Connection, socket.socket]] = []

    async def connected(pool: Pool) -> tuple[Connection, socket.socket]:
        plug, other = socket.socketpair()
        connection = Connection(plug, ip_address("127.0.0.1"), pool.forget)
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=plug)
        made.append((connection, other))
        return connection, other

    yield connected
    for connection, other in made:
        connection.abort()
        other.close()
        await connection.lost


async def test_the_last_that_was_given_is_taken_first(connect: Connect) -> None:
    pool = Pool()
    old, _ = await connect(pool)
    young, _ = await connect(pool)
    pool.give(_HERE, old)
    pool.give(_HERE, young)

    assert [pool.take(_HERE), pool.take(_HERE), pool.take(_HERE)] == [young, old, None]
    pool.close()


async def test_another_origin_has_other_connections(connect: Connect) -> None:
    pool = Pool()
    connection, _ = await connect(pool)
    pool.give(_HERE, connection)

    assert pool.take(_THERE) is None
    assert pool.take(_HERE) is connection
    pool.close()


async def test_what_has_waited_too_long_is_closed(connect: Connect) -> None:
    pool = Pool(idle_seconds=0.05)
    first, _ = await connect(pool)
    second, _ = await connect(pool)
    pool.give(_HERE, first)
    await asyncio.sleep(0.03)
    pool.give(_THERE, second)

    async with asyncio.timeout(5):
        await first.lost
        await second.lost
    assert len(pool) == 0
    pool.close()


async def test_more_than_enough_are_closed(connect: Connect) -> None:
    pool = Pool(most_per_origin=2, most=3)
    here = [(await connect(pool))[0] for _ in range(3)]
    there = [(await connect(pool))[0] for _ in range(2)]
    for connection in here:
        pool.give(_HERE, connection)
    for connection in there:
        pool.give(_THERE, connection)

    async with asyncio.timeout(5):
        await here[2].lost
        await here[0].lost
    assert len(pool) == 3
    assert pool.take(_HERE) is here[1]
    pool.close()


@pytest.mark.parametrize("stray", [b"HTTP/1.1 500 No\r\n\r\n", b""])
async def test_what_stirred_is_not_taken_even_before_the_loop_has_read_it(
    connect: Connect, stray: bytes
) -> None:
    pool = Pool()
    connection, other = await connect(pool)
    pool.give(_HERE, connection)
    if stray:
        other.send(stray)
    else:
        other.shutdown(socket.SHUT_WR)

    assert pool.take(_HERE) is None
    pool.close()


async def test_closing_leaves_none(connect: Connect) -> None:
    pool = Pool()
    connection, _ = await connect(pool)
    pool.give(_HERE, connection)

    pool.close()

    async with asyncio.timeout(5):
        await connection.lost
    assert len(pool) == 0
