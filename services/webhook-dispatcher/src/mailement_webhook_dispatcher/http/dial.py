"""From a target to a connection: name, guard, TCP, TLS."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Sequence
from itertools import zip_longest
from time import perf_counter
from typing import Final

from mailement_webhook_dispatcher.http.connection import GOODBYE_SECONDS, Connection, OnLost, tls_reason
from mailement_webhook_dispatcher.http.exchange import Fault, FaultKind
from mailement_webhook_dispatcher.http.resolver import CannotAsk, Resolver
from mailement_webhook_dispatcher.http.stopwatch import Stopwatch, milliseconds_since
from mailement_webhook_dispatcher.http.target import Origin, Target
from mailement_webhooks.rules.guard import Address, Guard

# Of a name's addresses. Each has its share of the time to connect, which must be enough for the other end of the world.
_MOST_TRIED: Final = 4
# This machine's own want of files or memory: no other address would fare better.
_SHORTAGE: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_OURS: Final = _SHORTAGE | {errno.EADDRNOTAVAIL, errno.ENETDOWN}
# How an address of a family fails that this machine is not connected with, however well the receiver is.
_NO_WAY: Final = {
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
}


class NotConnected(Exception):
    """There is no connection; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


class Dialler:
    """Dials only addresses that the guard has judged: the very ones, so that no second look-up can lead elsewhere."""

    def __init__(self, guard: Guard, resolver: Resolver, tls: ssl.SSLContext, on_lost: OnLost) -> None:
        self._guard = guard
        self._resolver = resolver
        self._tls = tls
        self._on_lost = on_lost

    async def dial(self, target: Target, watch: Stopwatch, *, seconds: float) -> Connection:
        """Raises NotConnected. `seconds`: for name, TCP and TLS together."""
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until):
                addresses = await self._addresses(target, watch)
                plug, address = await _connect(in_turn(addresses), target.origin.port, watch, until)
                return await self._talk(plug, address, target.origin, watch)
        except TimeoutError:
            raise NotConnected(_too_late(watch)) from None

    async def _addresses(self, target: Target, watch: Stopwatch) -> Sequence[Address]:
        """All of them permitted: a name that leads partly into a private network is a mistake or an attack."""
        if target.address is not None:
            addresses: Sequence[Address] = [target.address]
        else:
            addresses = await self._resolve(target.origin.host, watch)
        for address in addresses:
            if (reason := self._guard.refusal(address)) is not None:
                raise NotConnected(Fault(kind=FaultKind.BLOCKED_ADDRESS, detail=reason))
        return addresses

    async def _resolve(self, host: str, watch: Stopwatch) -> Sequence[Address]:
        started = perf_counter()
        try:
            addresses = await self._resolver.resolve(host)
        except TimeoutError:
            raise
        except CannotAsk as error:
            detail = f"the host's name could not be looked up: {error}"
            raise NotConnected(Fault(kind=FaultKind.INTERNAL_ERROR, detail=detail)) from error
        except OSError as error:
            raise NotConnected(_unresolved()) from error
        finally:
            watch.dns = milliseconds_since(started)
        if not addresses:
            raise NotConnected(_unresolved())
        return addresses

    async def _talk(
        self, plug: socket.socket, address: Address, origin: Origin, watch: Stopwatch
    ) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(plug, address, self._on_lost)
        started = perf_counter()
        try:
            if origin.secure:
                await loop.create_connection(
                    lambda: connection,
                    sock=plug,
                    ssl=self._tls,
                    server_hostname=origin.host,
                    ssl_shutdown_timeout=GOODBYE_SECONDS,
                )
            else:
                await loop.create_connection(lambda: connection, sock=plug)
        except TimeoutError:
            raise
        except ssl.SSLError as error:
            raise NotConnected(
                Fault(kind=FaultKind.TLS, detail=f"TLS failed: {tls_reason(error)}")
            ) from error
        except OSError as error:
            raise NotConnected(
                Fault(kind=FaultKind.RESET, detail="the connection was cut during the TLS handshake")
            ) from error
        finally:
            if origin.secure:
                watch.tls = milliseconds_since(started)
        return connection


def in_turn(addresses: Sequence[Address]) -> Sequence[Address]:
    """The few to be tried: the families take turns, because one of them may lead nowhere from here."""
    first = [address for address in addresses if address.version == addresses[0].version]
    second = [address for address in addresses if address.version != addresses[0].version]
    pairs = zip_longest(first, second)
    return [address for pair in pairs for address in pair if address is not None][:_MOST_TRIED]


def most_telling(failures: Sequence[OSError]) -> OSError:
    """Of the tried addresses: the first failure that says something of the receiver, else the first."""
    return next((failure for failure in failures if failure.errno not in _NO_WAY), failures[0])


async def _connect(
    addresses: Sequence[Address], port: int, watch: Stopwatch, until: float
) -> tuple[socket.socket, Address]:
    """To the first that accepts; each gets its share of the time that is left. Raises NotConnected, TimeoutError."""
    loop = asyncio.get_running_loop()
    started = perf_counter()
    failures = []
    try:
        for place, address in enumerate(addresses):
            share = (until - loop.time()) / (len(addresses) - place)
            try:
                async with asyncio.timeout(share):
                    return await _connected(address, port), address
            except OSError as error:
                if error.errno in _SHORTAGE:
                    raise NotConnected(_unconnected(error)) from error
                failures.append(error)
    finally:
        watch.connect = milliseconds_since(started)
    failure = most_telling(failures)
    if isinstance(failure, TimeoutError) and failure.errno is None:
        raise failure
    raise NotConnected(_unconnected(failure)) from failure


async def _connected(address: Address, port: int) -> socket.socket:
    plug = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        plug.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plug, (str(address), port))
    except BaseException:
        plug.close()
        raise
    return plug


def _unresolved() -> Fault:
    return Fault(kind=FaultKind.DNS, detail="the host's name could not be resolved")


def _too_late(watch: Stopwatch) -> Fault:
    """By the phase that the time ran out in."""
    if watch.connect is None:
        return Fault(kind=FaultKind.DNS, detail="the host's name was not resolved within the time allowed")
    if watch.tls is None:
        return Fault(kind=FaultKind.CONNECT_TIMEOUT, detail="no connection within the time allowed")
    return Fault(kind=FaultKind.CONNECT_TIMEOUT, detail="no TLS handshake within the time allowed")


def _unconnected(error: OSError) -> Fault:
    if error.errno in _OURS:
        return Fault(kind=FaultKind.INTERNAL_ERROR, detail=f"no socket here: {_in_words(error)}")
    match error:
        case ConnectionRefusedError():
            return Fault(kind=FaultKind.CONNECT_REFUSED, detail="nothing listens at the address")
        case ConnectionResetError():
            return Fault(kind=FaultKind.RESET, detail="the connection was cut")
        case TimeoutError():
            return Fault(kind=FaultKind.CONNECT_TIMEOUT, detail="no connection within the time allowed")
        case _:
            return Fault(kind=FaultKind.CONNECT_FAILED, detail=_in_words(error))


def _in_words(error: OSError) -> str:
    """The system's words for the number: the loop's own name the address."""
    return os.strerror(error.errno).lower() if error.errno is not None else type(error).__name__
