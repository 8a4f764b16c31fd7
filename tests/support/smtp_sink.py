"""An SMTP server on the test's own loop that keeps what it is given and refuses what it is told to."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from typing_extensions import override

HANG_UP = "hang up"


@dataclass(slots=True)
class SmtpSink:
    """`on_*`: the reply to that command from now on, or HANG_UP; behind the final dot the mail is kept first.

    `hold`: the answer to the final dot waits for it, for recipients at `held_domains` if there are any. `only_at`: the
    replies of `on_recipient` and `after_dot` are for recipients at this domain. `encrypted`: mails that came over TLS. `asked`: every RCPT that came.
    `most_at_once`: mails between RCPT and the answer to the final dot, for each domain.
    """

    port: int = 0
    on_mail: str | None = None
    on_recipient: str | None = None
    on_data: str | None = None
    after_dot: str | None = None
    connections: int = 0
    mails: list[Envelope] = field(default_factory=list)
    encrypted: int = 0
    hold: asyncio.Event | None = None
    held_domains: frozenset[str] = frozenset()
    only_at: str | None = None
    asked: list[str] = field(default_factory=list)
    under_way: Counter[str] = field(default_factory=Counter)
    most_at_once: Counter[str] = field(default_factory=Counter)
    _open: list[SMTP] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.on_mail is not None:
            return _reply(server, self.on_mail)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.asked.append(address)
        if self.on_recipient is not None and self._concerns(address):
            return _reply(server, self.on_recipient)
        envelope.rcpt_tos.append(address)
        domain = _domain(address)
        self.under_way[domain] += 1
        self.most_at_once[domain] = max(self.most_at_once[domain], self.under_way[domain])
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        (recipient,) = envelope.rcpt_tos
        domain = _domain(recipient)
        after_dot = self.after_dot if self._concerns(recipient) else None
        if after_dot == HANG_UP or not (after_dot or "").startswith(("4", "5")):
            self.mails.append(envelope)
            self.encrypted += session.ssl is not None
        try:
            if self.hold is not None and (not self.held_domains or domain in self.held_domains):
                await self.hold.wait()
        finally:
            self.under_way[domain] -= 1
        return _reply(server, after_dot or "250 queued as 42")

    def _concerns(self, address: str) -> bool:
        return self.only_at is None or _domain(address) == self.only_at

    def hang_up_all(self) -> None:
        for server in list(self._open):
            _abort(server)


class _Server(SMTP):
    """aiosmtpd has no hook before the 354 of DATA."""

    def __init__(self, sink: SmtpSink, password: str | None, tls: ssl.SSLContext | None) -> None:
        def authenticate(
            server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
        ) -> AuthResult:
            good = password is not None and data.password == password.encode()
            return AuthResult(success=good, handled=False)

        super().__init__(
            sink,
            hostname="sink.example",
            enable_SMTPUTF8=True,
            ident="sink",
            authenticator=authenticate,
            auth_require_tls=password is None,
            tls_context=tls,
        )
        self._sink = sink

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sink.connections += 1
        self._sink._open.append(self)
        super().connection_made(transport)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        if self in self._sink._open:
            self._sink._open.remove(self)
        super().connection_lost(error)

    @override
    async def smtp_DATA(self, arg: str) -> None:
        if self._sink.on_data is None:
            await super().smtp_DATA(arg)
        else:
            await self.push(_reply(self, self._sink.on_data))


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _reply(server: SMTP, reply: str) -> str:
    if reply == HANG_UP:
        _abort(server)
        return "421 gone"
    return reply


def _abort(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.Transport):
        server.transport.abort()


@asynccontextmanager
async def smtp_sink(
    *, password: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[SmtpSink]:
    """With a `password` it offers a login and takes no other; with `tls` it offers STARTTLS."""
    sink = SmtpSink()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: _Server(sink, password, tls), "127.0.0.1", 0)
    sink.port = listener.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        sink.hang_up_all()
        listener.close()
        await listener.wait_closed()
