"""Connections that wait for another exchange."""

from __future__ import annotations

import asyncio
from typing import Final

from mailement_webhook_dispatcher.http.connection import Connection
from mailement_webhook_dispatcher.http.target import Origin

# Seconds. Most servers close a quiet connection sooner or later; those that wait longer are not made to.
_LONGEST_IDLE: Final = 15.0
_MOST_PER_ORIGIN: Final = 128
# Beside those in use; each is a file descriptor, and 1024 is a common limit.
_MOST_IN_ALL: Final = 256


class Pool:
    """Keeps at most 128 idle connections for an origin and 256 in all, each for at most 15 seconds.

    The one that was used last is taken first, so that what is not needed grows old and goes.
    """

    def __init__(
        self,
        *,
        idle_seconds: float = _LONGEST_IDLE,
        most_per_origin: int = _MOST_PER_ORIGIN,
        most: int = _MOST_IN_ALL,
    ) -> None:
        self._idle_seconds = idle_seconds
        self._most_per_origin = most_per_origin
        self._most = most
        self._by_origin: dict[Origin, list[Connection]] = {}
        self._since: dict[Connection, tuple[float, Origin]] = {}  # the longest idle first
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def take(self, origin: Origin) -> Connection | None:
        """One that can be used at once; what has spoiled meanwhile is thrown away."""
        while idle := self._by_origin.get(origin):
            connection = idle[-1]
            self.forget(connection)
            if connection.keepable and connection.is_quiet():
                return connection
            connection.abort()
        return None

    def give(self, origin: Origin, connection: Connection) -> None:
        """Keeps it, or closes it if there are enough."""
        idle = self._by_origin.setdefault(origin, [])
        if len(idle) >= self._most_per_origin:
            connection.close()
            return
        if len(self._since) >= self._most:
            self._close(next(iter(self._since)))
        idle.append(connection)
        self._by_origin[origin] = idle
        loop = asyncio.get_running_loop()
        self._since[connection] = (loop.time(), origin)
        if self._sweep is None:
            self._sweep = loop.call_later(self._idle_seconds, self._close_old)

    def forget(self, connection: Connection) -> None:
        """It is idle no more: taken, or lost."""
        known = self._since.pop(connection, None)
        if known is None:
            return
        _, origin = known
        idle = self._by_origin[origin]
        if idle[-1] is connection:
            idle.pop()
        else:
            idle.remove(connection)
        if not idle:
            del self._by_origin[origin]

    def close(self) -> None:
        for connection in list(self._since):
            self._close(connection)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _close(self, connection: Connection) -> None:
        self.forget(connection)
        connection.close()

    def _close_old(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        while self._since:
            connection, (since, _) = next(iter(self._since.items()))
            left = since + self._idle_seconds - loop.time()
            if left > 0:
                self._sweep = loop.call_later(left, self._close_old)
                return
            self._close(connection)
