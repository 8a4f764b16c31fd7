"""Listens, reads requests one after another, and behaves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from mailement_cli.torture.behaviours import Behaviour, answer
from mailement_cli.torture.received import NotARequest, Received, read_request


class TortureServer:
    """A context manager. `on_received` hears of a request before `behaviour_at` its path answers it.

    `connections` counts those that were accepted.
    """

    def __init__(
        self,
        behaviour_at: Callable[[str], Behaviour],
        on_received: Callable[[Received], Awaitable[None]],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._behaviour_at = behaviour_at
        self._on_received = on_received
        self._host = host
        self._port = port
        self._tls = tls
        self._open: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def __aenter__(self) -> Self:
        """Raises OSError if the port is taken."""
        self._server = await asyncio.start_server(self._accept, self._host, self._port, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for visit in self._open:
            visit.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def visits(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        visit = asyncio.create_task(self._receive(reader, writer))
        self._open.add(visit)
        visit.add_done_callback(self._open.discard)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing() and (request := await read_request(reader)) is not None:
                await self._on_received(request)
                await self._behaviour_at(request.path)(request, writer)
                await writer.drain()
                if "close" in (value.lower() for value in request.values("connection")):
                    break
        except NotARequest as error:
            writer.write(answer(400, f"{error}\n".encode()))
        except OSError:
            writer.transport.abort()
        except RuntimeError:
            # What uvloop calls a connection that is gone.
            if not writer.is_closing():
                raise
        finally:
            writer.close()
