"""Names become addresses, and whoever waits does not hold up others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address

import pytest

from mailement_webhook_dispatcher.http.resolver import CannotAsk, OwnThreadsResolver
from mailement_webhooks.rules.guard import Address

_HERE = ip_address("127.0.0.1")

_WITHOUT_FILES = """
import asyncio, os, resource
from mailement_webhook_dispatcher.http.resolver import CannotAsk, OwnThreadsResolver

async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    try:
        await OwnThreadsResolver().resolve("localhost")
    except CannotAsk as error:
        print(error)

asyncio.run(main())
"""

_HANGING = """
import asyncio, contextlib, time
from mailement_webhook_dispatcher.http.resolver import OwnThreadsResolver

async def main():
    resolver = OwnThreadsResolver(lambda host: time.sleep(600))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await resolver.resolve("dead.example")
    resolver.close()

asyncio.run(main())
"""


@pytest.fixture
async def resolver() -> AsyncIterator[OwnThreadsResolver]:
    ready = OwnThreadsResolver()
    yield ready
    ready.close()


async def test_all_addresses_of_a_name_each_once(resolver: OwnThreadsResolver) -> None:
    addresses = await resolver.resolve("localhost")

    assert addresses
    assert all(address.is_loopback for address in addresses)
    assert len(set(addresses)) == len(addresses)


async def test_who_gives_up_takes_nobody_along(resolver: OwnThreadsResolver) -> None:
    impatient = asyncio.create_task(resolver.resolve("localhost"))
    patient = asyncio.create_task(resolver.resolve("localhost"))
    await asyncio.sleep(0)
    impatient.cancel()

    assert await patient
    assert impatient.cancelled()


async def test_a_name_that_nobody_has_is_an_os_error_for_all_who_asked(resolver: OwnThreadsResolver) -> None:
    answers = await asyncio.gather(
        resolver.resolve("nowhere.invalid"), resolver.resolve("nowhere.invalid"), return_exceptions=True
    )

    assert all(isinstance(answer, OSError) for answer in answers)


async def test_a_name_can_be_asked_for_again(resolver: OwnThreadsResolver) -> None:
    assert await resolver.resolve("localhost") == await resolver.resolve("localhost")


class NameServers:
    """`dead` names hang until `revive`; every other has one address."""

    def __init__(self, *dead: str) -> None:
        self._dead = set(dead)
        self._revived = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        if host in self._dead:
            self._revived.wait(30)
        return [_HERE]

    def revive(self) -> None:
        self._revived.set()

    def die(self) -> None:
        self._revived.clear()


async def _given_up(resolver: OwnThreadsResolver, host: str, *, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await resolver.resolve(host)


async def test_who_finds_all_threads_taken_hears_that_it_was_not_asked() -> None:
    servers = NameServers("a.dead", "b.dead")
    resolver = OwnThreadsResolver(servers, threads=2)
    await asyncio.gather(*(_given_up(resolver, host, seconds=0.05) for host in ("a.dead", "b.dead")))

    with pytest.raises(CannotAsk, match="no thread became free"):
        await resolver.resolve("alive.example")

    servers.revive()
    assert await resolver.resolve("alive.example") == [_HERE]
    assert sorted(servers.asked) == ["a.dead", "alive.example", "b.dead"]
    resolver.close()


async def test_names_that_were_slow_leave_half_of_the_threads_to_others() -> None:
    servers = NameServers("a.dead", "b.dead")
    resolver = OwnThreadsResolver(servers, threads=2)
    slow = [asyncio.create_task(resolver.resolve(host)) for host in ("a.dead", "b.dead")]
    await asyncio.sleep(1.1)
    servers.revive()
    await asyncio.gather(*slow)

    servers.die()
    again = [asyncio.create_task(resolver.resolve(host)) for host in ("a.dead", "b.dead")]
    await asyncio.sleep(0)

    assert await resolver.resolve("alive.example") == [_HERE]
    servers.revive()
    assert await asyncio.gather(*again) == [[_HERE], [_HERE]]
    resolver.close()


async def test_threads_are_used_again() -> None:
    before = _threads()
    resolver = OwnThreadsResolver(NameServers(), threads=8)
    for place in range(20):
        await resolver.resolve(f"{place}.example")

    assert _threads() <= before + 1
    resolver.close()


async def test_whatever_a_look_up_raises_reaches_who_asked() -> None:
    def broken(host: str) -> Sequence[Address]:
        raise UnicodeError(host)

    resolver = OwnThreadsResolver(broken)
    with pytest.raises(UnicodeError):
        await resolver.resolve("odd.example")
    resolver.close()


def test_without_files_no_name_is_said_not_to_exist() -> None:
    assert _run(_WITHOUT_FILES) == "no file descriptor is left\n"


def test_a_process_ends_although_a_look_up_hangs() -> None:
    assert _run(_HANGING) == ""


def _threads() -> int:
    return sum(thread.name == "resolve" for thread in threading.enumerate())


def _run(program: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return ran.stdout
