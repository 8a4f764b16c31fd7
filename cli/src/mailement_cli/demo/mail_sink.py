"""A small SMTP server that takes every mail and hands it on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session


class MailSink:
    def __init__(self, *, host: str, port: int, on_mail: Callable[[EmailMessage], None]) -> None:
        self._host = host
        self._port = port
        self._on_mail = on_mail
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address[1]

    async def start(self) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop), self._host, self._port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        content = envelope.original_content or b""
        self._on_mail(message_from_bytes(content, policy=policy.default))
        return "250 OK"
