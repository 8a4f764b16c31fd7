"""Connections to the relay, kept open between mails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

import aiosmtplib

from mailement_common.logs import logger
from mailement_mailer.providers.destinations import Destination
from mailement_mailer.settings import SmtpTls

_COMMAND_SECONDS: Final = 20
# Relays close idle connections; to meet one that is half closed would cost a mail its first attempt.
_IDLE_SECONDS: Final = 20
_MAILS_PER_CONNECTION: Final = 100

log = logger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class Line:
    """A connection; `carried`: mails that went over it so far, by destination."""

    client: aiosmtplib.SMTP
    carried: Counter[str] = field(default_factory=Counter)
    idle_since: float = 0.0

    def has_room_for(self, destination: Destination) -> bool:
        return self.carried[destination.name] < destination.limits.mails


class Lines:
    """As many connections as there are mails at the same time."""

    def __init__(self, *, host: str, port: int, tls: SmtpTls, user: str | None, password: str | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._user = user
        self._password = password
        # The one that was used last stands at the right.
        self._idle: deque[Line] = deque()
        self._own_name: str | None = None

    def take_idle(self, destination: Destination) -> Line | None:
        """An open connection that may carry one more mail to there; if there is none, room is made for a new one."""
        self._drop_stale()
        for line in reversed(self._idle):
            if line.has_room_for(destination):
                self._idle.remove(line)
                return line
        if self._idle:
            self._idle.popleft().client.close()
        return None

    async def connect(self) -> Line:
        """Greeted, encrypted and logged in as the settings want it. Raises SMTPException, OSError."""
        if self._own_name is None:
            self._own_name = await asyncio.to_thread(socket.getfqdn)
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            local_hostname=self._own_name,
            timeout=_COMMAND_SECONDS,
            use_tls=self._tls is SmtpTls.TLS,
            start_tls=_start_tls(self._tls),
            tls_context=_unverified() if self._tls is SmtpTls.OPPORTUNISTIC else None,
        )
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await _greet(client)
        return Line(client=client)

    def keep(self, line: Line) -> None:
        """For the next mail, unless it is used up."""
        if line.client.is_connected and line.carried.total() < _MAILS_PER_CONNECTION:
            line.idle_since = asyncio.get_running_loop().time()
            self._idle.append(line)
        else:
            line.client.close()

    async def close(self) -> None:
        lines, self._idle = self._idle, deque()
        for line in lines:
            try:
                await line.client.quit(timeout=1)
            except (aiosmtplib.SMTPException, OSError) as error:
                log.debug("smtp.quit_unanswered", reason=type(error).__name__)
                line.client.close()

    def _drop_stale(self) -> None:
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        stale = [line for line in self._idle if not line.client.is_connected or line.idle_since <= oldest]
        for line in stale:
            self._idle.remove(line)
            line.client.close()


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        await client.helo()


def _start_tls(tls: SmtpTls) -> bool | None:
    match tls:
        case SmtpTls.STARTTLS:
            return True
        case SmtpTls.OPPORTUNISTIC:
            return None
        case SmtpTls.NONE | SmtpTls.TLS:
            return False


def _unverified() -> ssl.SSLContext:
    """For relays that may also be spoken to in the clear: whoever could fake a certificate could strip the offer."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
