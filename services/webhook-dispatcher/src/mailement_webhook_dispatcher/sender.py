"""The only room that speaks HTTP: one POST, bounded in time and memory, to permitted addresses alone."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override
from yarl import URL

from mailement_webhook_dispatcher.outcome import AddressBlocked, Answer, Fault
from mailement_webhook_dispatcher.request import Request
from mailement_webhooks.rules.guard import Guard

CONNECT_SECONDS: Final = 3.0
TOTAL_SECONDS: Final = 5.0
_MOST_OF_BODY: Final = 4096
_RESOLVER_THREADS: Final = 64


class Sender:
    """A context manager around the connections. `connect_seconds` covers name, TCP and TLS; `total_seconds` all."""

    def __init__(
        self,
        guard: Guard,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._guard = guard
        self._timeout = aiohttp.ClientTimeout(total=total_seconds, connect=connect_seconds)
        self._resolver = resolver or OwnThreadsResolver()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                socket_factory=self._open_socket,
                resolver=self._resolver,
                limit=0,
                # A kept connection that the receiver closes as we write to it looks like a failed attempt,
                # and where there is only one attempt it must not be lost to that.
                force_close=True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._resolver.close()

    async def post(self, request: Request) -> Answer | Fault:
        """One attempt; what goes wrong on the way is a result."""
        answer: Answer | None = None
        try:
            async with self._session.post(
                _as_typed(request.url), data=request.body, headers=request.headers, allow_redirects=False
            ) as response:
                answer = Answer(status=response.status, body=b"", location=response.headers.get("Location"))
                body = bytearray()
                try:
                    while len(body) < _MOST_OF_BODY:
                        piece = await response.content.read(_MOST_OF_BODY - len(body))
                        if not piece:
                            break
                        body += piece
                finally:
                    answer = Answer(status=answer.status, body=bytes(body), location=answer.location)
                    response.close()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Fault(error=error, answer=answer)
        return answer

    def _open_socket(self, address_info: tuple[Any, ...]) -> socket.socket:
        """Every connection passes here with the very address that is dialled, literal or resolved."""
        family, kind, protocol, _, address = address_info
        if (reason := self._guard.refusal(ip_address(address[0]))) is not None:
            raise AddressBlocked(reason)
        return socket.socket(family, kind, protocol)


class OwnThreadsResolver(AbstractResolver):
    """Resolves in threads of its own: the loop's few would all hang on a handful of dead name servers."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolve")

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in found
        ]

    @override
    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _as_typed(url: str) -> URL:
    """Percent escapes and all: rewriting them would break URLs that carry a signature of their own."""
    return URL(url, encoded=url.isascii())
