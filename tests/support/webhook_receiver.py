"""A receiver of webhooks inside a test: it behaves as the torture receiver that is shipped, and remembers."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self

from mailement_cli.torture.behaviours import (
    Behaviour,
    after,
    cut_short,
    drip,
    endless,
    endless_headers,
    gibberish,
    gzip_bomb,
    ok,
    redirect,
    reset,
    silence,
    status,
)
from mailement_cli.torture.certificate import self_signed
from mailement_cli.torture.modes import behaviour_at, modes
from mailement_cli.torture.received import Received
from mailement_cli.torture.server import TortureServer
from mailement_common.clock import SystemClock

__all__ = [
    "Behaviour",
    "Received",
    "WebhookReceiver",
    "after",
    "cut_short",
    "drip",
    "endless",
    "endless_headers",
    "gibberish",
    "gzip_bomb",
    "ok",
    "redirect",
    "reset",
    "self_signed",
    "silence",
    "status",
]


class WebhookReceiver:
    """Listens on a free port of 127.0.0.1. `behave` says how it answers on a path; else the path names a mode, or 200."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._scheme = "http" if tls is None else "https"
        self._server = TortureServer(self._behaviour_at, self._remember, tls=tls)
        self._behaviours: dict[str, Behaviour] = {}
        self._modes = modes(SystemClock())
        self._came = asyncio.Condition()
        self.requests: list[Received] = []

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def connections(self) -> int:
        """How many were accepted so far."""
        return self._server.connections

    @property
    def visits(self) -> int:
        """How many connections are open."""
        return self._server.visits

    def url(self, path: str = "/hook") -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    def behave(self, behaviour: Behaviour, path: str = "/hook") -> None:
        self._behaviours[path] = behaviour

    async def received(self, count: int) -> list[Received]:
        """Waits for this many requests."""
        async with asyncio.timeout(20), self._came:
            await self._came.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def _remember(self, request: Received) -> None:
        async with self._came:
            self.requests.append(request)
            self._came.notify_all()

    def _behaviour_at(self, path: str) -> Behaviour:
        plain = path.partition("?")[0]
        if plain in self._behaviours:
            return self._behaviours[plain]
        if plain in self._modes or plain.startswith("/status/"):
            return behaviour_at(path, self._modes)
        return ok
