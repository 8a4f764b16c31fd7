"""SMTP. The final dot divides a mail's life: before it nothing has been sent, behind it only the answer tells."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import aiosmtplib
from aiosmtplib import SMTPStatus

from mailement_common.logs import logger
from mailement_mailer.providers import mime
from mailement_mailer.providers.port import Failed, Outcome, RenderedMail, RetryLater, Sent, Uncertain
from mailement_mailer.settings import SmtpTls
from mailement_mailer.text import one_line, shortened

_COMMAND_SECONDS: Final = 20
_DOT_SECONDS: Final = 60
_TOTAL_SECONDS: Final = 85
# Relays close idle connections; to meet one that is half closed would cost a mail its first attempt.
_IDLE_SECONDS: Final = 20
_MAILS_PER_CONNECTION: Final = 100
_UNREACHABLE_PAUSE: Final = timedelta(seconds=15)

_LINE_START_DOT: Final = re.compile(rb"^\.", re.MULTILINE)
_PERMANENT: Final = 500
_TEMPORARY: Final = 400
_CLOSING: Final = 421
# The relay wants other credentials: that is about us and never about the mail.
_ACCOUNT_FAULTS: Final = frozenset({454, 530, 534, 535, 538})

log = logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Line:
    """A connection; `mails` went over it so far."""

    client: aiosmtplib.SMTP
    mails: int = 0
    idle_since: float = 0.0


@dataclass(slots=True)
class _Attempt:
    """`handed_over`: the final dot has been written. `line_lost`: the relay hung up before that."""

    handed_over: bool = False
    line_lost: bool = False


class SmtpProvider:
    """Keeps connections open between mails; as many as there are mails at the same time."""

    name: Final = "smtp"
    idempotent_for: Final = timedelta(0)
    longest: Final = timedelta(seconds=_TOTAL_SECONDS)

    def __init__(
        self, *, host: str, port: int, tls: SmtpTls, user: str | None = None, password: str | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._user = user
        self._password = password
        self._idle: list[_Line] = []
        self._own_name: str | None = None

    async def send(self, mail: RenderedMail) -> Outcome:
        content = mime.build(mail)
        attempt = _Attempt()
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                # An idle connection that turns out to be closed is no reason to keep the mail waiting.
                while (line := self._take_idle()) is not None:
                    attempt.line_lost = False
                    outcome = await self._send_over(line, mail, content, attempt)
                    if not attempt.line_lost:
                        return outcome
                return await self._send_fresh(mail, content, attempt)
        except TimeoutError:
            if attempt.handed_over:
                return Uncertain(reason="no answer to the final dot in time")
            return RetryLater(reason="the relay is too slow")

    async def close(self) -> None:
        lines, self._idle = self._idle, []
        for line in lines:
            try:
                await line.client.quit(timeout=1)
            except (aiosmtplib.SMTPException, OSError) as error:
                log.debug("smtp.quit_unanswered", reason=type(error).__name__)
                line.client.close()

    async def _send_fresh(self, mail: RenderedMail, content: bytes, attempt: _Attempt) -> Outcome:
        try:
            line = await self._connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            reason = f"no connection: {_explain(error)}"
            return RetryLater(reason=reason, after=_UNREACHABLE_PAUSE, provider_wide=True)
        return await self._send_over(line, mail, content, attempt)

    async def _connect(self) -> _Line:
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
        return _Line(client=client)

    async def _send_over(self, line: _Line, mail: RenderedMail, content: bytes, attempt: _Attempt) -> Outcome:
        """One mail over one connection, which is kept only if it is still in step with us."""
        keep = False
        try:
            outcome = await _transact(line.client, mail, content, attempt)
            keep = await self._usable(line, outcome)
        except aiosmtplib.SMTPResponseException as refusal:
            return _refused(refusal.code, refusal.message, attempt)
        except (aiosmtplib.SMTPException, OSError) as error:
            if attempt.handed_over:
                return Uncertain(reason=f"no answer to the final dot: {_explain(error)}")
            attempt.line_lost = isinstance(error, aiosmtplib.SMTPServerDisconnected)
            return RetryLater(reason=_explain(error))
        else:
            return outcome
        finally:
            if keep:
                line.idle_since = asyncio.get_running_loop().time()
                self._idle.append(line)
            else:
                line.client.close()

    async def _usable(self, line: _Line, outcome: Outcome) -> bool:
        line.mails += 1
        if line.mails >= _MAILS_PER_CONNECTION or not line.client.is_connected:
            return False
        if isinstance(outcome, Sent):
            return True
        try:
            await line.client.rset()
        except (aiosmtplib.SMTPException, OSError) as error:
            log.debug("smtp.line_dropped", reason=type(error).__name__)
            return False
        return True

    def _take_idle(self) -> _Line | None:
        oldest = asyncio.get_running_loop().time() - _IDLE_SECONDS
        while self._idle:
            line = self._idle.pop()
            if line.client.is_connected and line.idle_since > oldest:
                return line
            line.client.close()
        return None


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        await client.helo()


async def _transact(
    client: aiosmtplib.SMTP, mail: RenderedMail, content: bytes, attempt: _Attempt
) -> Outcome:
    """MAIL, RCPT, DATA. Notes in `attempt` when the mail is out of our hands; raises SMTPException, OSError."""
    options: list[str] = []
    if not mail.recipient.isascii():
        if not client.supports_extension("smtputf8"):
            return Failed(reason="the relay does not take addresses outside ASCII")
        options = ["SMTPUTF8", "BODY=8BITMIME"]
    try:
        await client.mail(mail.sender.address, options=options)
        await client.rcpt(mail.recipient, encoding="utf-8")
    except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientRefused) as refusal:
        return _refused(refusal.code, refusal.message, attempt)
    go_ahead = await client.execute_command(b"DATA")
    if go_ahead.code != SMTPStatus.start_input:
        return _refused(go_ahead.code, go_ahead.message, attempt)
    answer = await _hand_over(client, content, attempt)
    if answer.code == _CLOSING:
        client.close()
    if answer.code == SMTPStatus.completed:
        return Sent(provider_message_id=shortened(one_line(answer.message), 200))
    return _refused(answer.code, answer.message, attempt)


async def _hand_over(client: aiosmtplib.SMTP, content: bytes, attempt: _Attempt) -> aiosmtplib.SMTPResponse:
    protocol = client.protocol
    if protocol is None:
        raise aiosmtplib.SMTPServerDisconnected("connection lost")
    ending = b"" if content.endswith(b"\r\n") else b"\r\n"
    protocol.write(_LINE_START_DOT.sub(b"..", content) + ending + b".\r\n")
    attempt.handed_over = True
    return await protocol.read_response(timeout=_DOT_SECONDS)


def _refused(code: int, message: str, attempt: _Attempt) -> Outcome:
    reason = shortened(f"{code} {one_line(message)}", 300)
    if code in _ACCOUNT_FAULTS:
        return RetryLater(reason=f"account: {reason}", after=_UNREACHABLE_PAUSE, provider_wide=True)
    if code >= _PERMANENT:
        return Failed(reason=reason)
    if code >= _TEMPORARY:
        attempt.line_lost = code == _CLOSING and not attempt.handed_over
        return RetryLater(reason=reason)
    if attempt.handed_over:
        return Uncertain(reason=f"unreadable answer to the final dot: {reason}")
    return RetryLater(reason=f"unexpected answer: {reason}")


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


def _explain(error: Exception) -> str:
    return shortened(f"{type(error).__name__}: {one_line(str(error))}", 300)
