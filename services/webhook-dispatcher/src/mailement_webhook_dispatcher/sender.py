"""The only room that speaks HTTP: one POST, bounded in time and memory, to permitted addresses alone."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from mailement_common.logs import logger
from mailement_webhook_dispatcher.http.connection import Connection
from mailement_webhook_dispatcher.http.dial import Dialler, NotConnected
from mailement_webhook_dispatcher.http.exchange import Answer, Exchange, Fault, FaultKind, Limits
from mailement_webhook_dispatcher.http.pool import Pool
from mailement_webhook_dispatcher.http.resolver import OwnThreadsResolver, Resolver
from mailement_webhook_dispatcher.http.stopwatch import Stopwatch
from mailement_webhook_dispatcher.http.target import Target, target_of
from mailement_webhook_dispatcher.request import Request
from mailement_webhooks.errors import UrlRefused
from mailement_webhooks.rules.guard import Guard

_FAREWELL_SECONDS: Final = 1.0

log = logger(__name__)


class Sender:
    """A context manager around the connections; `post` never raises for what goes wrong on the way.

    `tls`: whom to believe; by default the authorities that the machine believes.

    With `reuse`, a connection is kept after a complete answer and serves the next POST to the same scheme, host and
    port: idle for at most 15 seconds, judged again by the guard, and thrown away if a byte has come that nobody asked
    for. A receiver may close a kept connection in the moment it is written to. If it does so before any byte of an
    answer, the request goes out again, once and over a fresh connection, within the same attempt and its time: whether
    the first copy was read cannot be known, so the receiver may see its `webhook-id` twice. Endpoints that want
    each event once at most are posted to without `reuse`: over a fresh connection, which is closed behind.
    """

    def __init__(
        self, guard: Guard, *, resolver: Resolver | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._guard = guard
        self._resolver = resolver or OwnThreadsResolver()
        self._pool = Pool()
        self._open: set[Connection] = set()
        self._dialler = Dialler(guard, self._resolver, tls or ssl.create_default_context(), self._forget)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()
        self._resolver.close()
        await self._farewell()
        for connection in tuple(self._open):
            connection.abort()
        await self._farewell()

    async def _farewell(self) -> None:
        """Until all are closed, though not for long."""
        if self._open:
            await asyncio.wait([connection.lost for connection in self._open], timeout=_FAREWELL_SECONDS)

    @property
    def idle_connections(self) -> int:
        return len(self._pool)

    @property
    def open_connections(self) -> int:
        """Those under way, those that are idle, and those that are being closed."""
        return len(self._open)

    async def post(self, request: Request, *, limits: Limits, reuse: bool) -> Exchange:
        """One attempt; what goes wrong is its result."""
        attempt = _Attempt(until=asyncio.get_running_loop().time() + limits.total_seconds)
        try:
            target = target_of(request.url)
            await self._post(attempt, target, _message(request, target, reuse=reuse), limits, reuse=reuse)
        except UrlRefused as refused:
            attempt.fault = Fault(kind=FaultKind.BAD_URL, detail=refused.reason)
        except NotConnected as failed:
            attempt.fault = failed.fault
        except Exception as error:
            log.exception("webhook.sender_failed")
            attempt.fault = Fault(kind=FaultKind.INTERNAL_ERROR, detail=type(error).__name__)
        return attempt.exchange()

    async def _post(
        self, attempt: _Attempt, target: Target, message: _Message, limits: Limits, *, reuse: bool
    ) -> None:
        if reuse and (kept := self._kept(target)) is not None:
            attempt.reused = True
            await self._exchange(attempt, kept, target, message, reuse=reuse)
            if not (attempt.cut and kept.heard_nothing):
                return
            attempt.start_again()
        seconds = min(limits.connect_seconds, attempt.seconds_left())
        connection = await self._dialler.dial(target, attempt.watch, seconds=seconds)
        if not connection.lost.done():
            self._open.add(connection)
        await self._exchange(attempt, connection, target, message, reuse=reuse)

    def _kept(self, target: Target) -> Connection | None:
        while (connection := self._pool.take(target.origin)) is not None:
            if self._guard.refusal(connection.peer) is None:
                return connection
            connection.close()
        return None

    async def _exchange(
        self, attempt: _Attempt, connection: Connection, target: Target, message: _Message, *, reuse: bool
    ) -> None:
        attempt.request_head = message.head
        response, attempt.fault = await connection.exchange(
            message.head.encode() + b"\r\n" + message.body, attempt.watch, seconds=attempt.seconds_left()
        )
        attempt.answer = response.answer
        if reuse and response.keeps and connection.keepable:
            self._pool.give(target.origin, connection)
        else:
            connection.close()

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._pool.forget(connection)


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """What is known of it so far. `until`: by the loop's clock."""

    until: float
    watch: Stopwatch = field(default_factory=Stopwatch)
    request_head: str = field(default="", repr=False)
    reused: bool = False
    answer: Answer | None = None
    fault: Fault | None = None

    def seconds_left(self) -> float:
        return max(0.0, self.until - asyncio.get_running_loop().time())

    @property
    def cut(self) -> bool:
        return self.fault is not None and self.fault.kind is FaultKind.RESET

    def start_again(self) -> None:
        self.watch = Stopwatch()
        self.reused = False
        self.fault = None

    def exchange(self) -> Exchange:
        return Exchange(
            answer=self.answer,
            fault=self.fault,
            phases=self.watch.phases(),
            request_head=self.request_head,
            reused=self.reused,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    head: str = field(repr=False)
    body: bytes = field(repr=False)


def _message(request: Request, target: Target, *, reuse: bool) -> _Message:
    """`request.headers` go out under the very names that they have."""
    lines = [f"POST {target.path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines.append(f"Content-Length: {len(request.body)}")
    if not reuse:
        lines.append("Connection: close")
    head = "\r\n".join(lines) + "\r\n"
    if head.count("\n") != len(lines) or head.count("\r") != len(lines):
        raise ValueError("a header has a line break in it")
    return _Message(head=head, body=request.body)
