"""Asks the name service, without letting one dead name server stand in everybody's way."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address
from queue import SimpleQueue
from typing import Final, Protocol

from mailement_webhooks.rules.guard import Address

_THREADS: Final = 64
# Seconds. A name server that is well answers much sooner.
_SLOW: Final = 1.0
_LONGEST_QUEUE: Final = 1.0
_MOST_REMEMBERED: Final = 4096


class CannotAsk(Exception):
    """The name was not asked for, in words why. It says nothing of the name: this machine is short of something."""


class Resolver(Protocol):
    async def resolve(self, host: str) -> Sequence[Address]:
        """All addresses of a name, in the order to try them. Raises OSError, CannotAsk."""
        ...

    def close(self) -> None: ...


class OwnThreadsResolver:
    """Resolves in threads of its own: the loop's few would all hang on a handful of dead name servers.

    Whoever asks for a name that is being asked for already waits for the same answer, so that a name occupies one
    thread, however many deliveries hang on it. Names that were slow the last time may have half of the threads. Who
    gets no thread within a second is told so, and pays for no dead name of others with a failure of its own.

    No process waits for these threads at its end: the system alone decides how long a look-up hangs.
    """

    def __init__(
        self, look_up: Callable[[str], Sequence[Address]] | None = None, *, threads: int = _THREADS
    ) -> None:
        self._look_up = look_up or addresses_of
        self._places = asyncio.Semaphore(threads)
        self._places_of_slow = asyncio.Semaphore(max(threads // 2, 1))
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._asked: dict[str, asyncio.Task[Sequence[Address]]] = {}
        self._slow: dict[str, None] = {}  # the longest known first

    async def resolve(self, host: str) -> Sequence[Address]:
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = asyncio.create_task(self._ask(host))
            asked.add_done_callback(lambda _: self._asked.pop(host))
        return await asyncio.shield(asked)

    def close(self) -> None:
        for asked in self._asked.values():
            asked.cancel()
        for _ in range(self._threads):
            self._questions.put(None)

    async def _ask(self, host: str) -> Sequence[Address]:
        if host not in self._slow:
            return await self._ask_in_turn(host)
        async with _place_among(self._places_of_slow):
            return await self._ask_in_turn(host)

    async def _ask_in_turn(self, host: str) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        async with _place_among(self._places):
            began = loop.time()
            try:
                return await self._ask_in_thread(host)
            finally:
                self._remember(host, slow=loop.time() - began > _SLOW)

    async def _ask_in_thread(self, host: str) -> Sequence[Address]:
        if not self._idle:
            self._start_thread()
        question = _Question(host)
        self._idle -= 1
        self._questions.put(question)
        try:
            return await question.answer
        finally:
            self._idle += 1

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._work, name="resolve", daemon=True).start()
        except RuntimeError as error:
            raise CannotAsk("no thread can be started") from error
        self._threads += 1
        self._idle += 1

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            question.put_to(self._look_up)

    def _remember(self, host: str, *, slow: bool) -> None:
        self._slow.pop(host, None)
        if slow:
            self._slow[host] = None
            if len(self._slow) > _MOST_REMEMBERED:
                del self._slow[next(iter(self._slow))]


@asynccontextmanager
async def _place_among(places: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_LONGEST_QUEUE):
            await places.acquire()
    except TimeoutError:
        raise CannotAsk("no thread became free") from None
    try:
        yield
    finally:
        places.release()


class _Question:
    """Made where the loop runs, put in a thread."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Sequence[Address]] = self._loop.create_future()

    def put_to(self, look_up: Callable[[str], Sequence[Address]]) -> None:
        try:
            addresses = look_up(self._host)
        except Exception as error:  # noqa: BLE001  whoever asked gets it
            self._tell(partial(self.answer.set_exception, error))
        else:
            self._tell(partial(self.answer.set_result, addresses))

    def _tell(self, answer: Callable[[], None]) -> None:
        # A loop that has ended waits for no answer.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: None if self.answer.done() else answer())


def addresses_of(host: str) -> Sequence[Address]:
    """Waits as long as the system does. Raises OSError, CannotAsk."""
    try:
        found = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM)
    except OSError as error:
        _blame_ourselves(error)
        raise
    return list(dict.fromkeys(ip_address(address[0]) for *_, address in found))


def _blame_ourselves(error: OSError) -> None:
    """Short of files, the C library says of every name that nobody has it. Raises CannotAsk."""
    if error.errno == socket.EAI_MEMORY:
        raise CannotAsk("no memory is left") from error
    try:
        with socket.socket(), socket.socket():
            pass
    except OSError as shortage:
        raise CannotAsk("no file descriptor is left") from shortage
