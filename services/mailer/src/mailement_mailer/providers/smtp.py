"""SMTP. The final dot divides a mail's life: before it nothing has been sent, behind it only the answer tells."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import aiosmtplib
from aiosmtplib import SMTPStatus

from mailement_common.logs import logger
from mailement_mailer.providers import dkim, mime
from mailement_mailer.providers.destinations import ComeBack, Destinations
from mailement_mailer.providers.dkim import DkimKey
from mailement_mailer.providers.port import Failed, Fault, Outcome, RenderedMail, RetryLater, Sent, Uncertain
from mailement_mailer.providers.smtp_answers import Answer, Scope, Stage, outcome, read
from mailement_mailer.providers.smtp_lines import Line, Lines
from mailement_mailer.providers.smtp_turns import PATIENCE_SECONDS, Turn, Turns
from mailement_mailer.settings import SmtpTls
from mailement_mailer.text import one_line, shortened, without_addresses

_DOT_SECONDS: Final = 60
_TOTAL_SECONDS: Final = 80
# From a mail's coming to its outcome.
LONGEST_SECONDS: Final = PATIENCE_SECONDS + _TOTAL_SECONDS
_UNREACHABLE_PAUSE: Final = timedelta(seconds=15)
_LINE_START_DOT: Final = re.compile(rb"^\.", re.MULTILINE)

log = logger(__name__)

# The key to sign a mail with, or None; it is asked for every attempt and raises nothing.
Signer = Callable[[RenderedMail], DkimKey | None]


def unsigned(_mail: RenderedMail) -> None:
    """For relays that sign by themselves."""


@dataclass(slots=True)
class _Attempt:
    """`stage`: what the server is answering; `handed_over`: the final dot has been written; `line_lost`: the relay hung
    up before that.
    """

    stage: Stage = Stage.MAIL
    handed_over: bool = False
    line_lost: bool = False


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


class SmtpProvider:
    """Keeps connections open between mails, and to each destination no more of them than it takes.

    `signer`: finds the DKIM key for the sender's domain.
    """

    name: Final = "smtp"
    idempotent_for: Final = timedelta(0)

    def __init__(
        self,
        *,
        host: str,
        port: int,
        tls: SmtpTls,
        user: str | None = None,
        password: str | None = None,
        signer: Signer = unsigned,
        destinations: Destinations | None = None,
    ) -> None:
        self._lines = Lines(host=host, port=port, tls=tls, user=user, password=password)
        self._turns = Turns(destinations or Destinations())
        self._signer = signer

    async def send(self, mail: RenderedMail) -> Outcome:
        turn = await self._turns.take(mail.recipient)
        if isinstance(turn, ComeBack):
            return _held_back(turn)
        result: Outcome | None = None
        try:
            result = await self._send(mail, turn)
            return result
        finally:
            turn.end(answered=result is not None, taken=isinstance(result, Sent))

    async def close(self) -> None:
        await self._lines.close()

    async def _send(self, mail: RenderedMail, turn: Turn) -> Outcome:
        content = self._content(mail)
        attempt = _Attempt()
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                # An idle connection that turns out to be closed is no reason to keep the mail waiting.
                while (line := self._lines.take_idle(turn.destination)) is not None:
                    result = await self._send_over(line, mail, content, attempt, turn)
                    if not attempt.line_lost:
                        return result
                return await self._send_fresh(mail, content, attempt, turn)
        except TimeoutError:
            if attempt.handed_over:
                return Uncertain(reason="no answer to the final dot in time")
            return RetryLater(reason="the relay is too slow", fault=Fault.RELAY)

    def _content(self, mail: RenderedMail) -> bytes:
        content = mime.build(mail)
        key = self._signer(mail)
        return content if key is None else dkim.signature(content, key) + content

    async def _send_fresh(self, mail: RenderedMail, content: bytes, attempt: _Attempt, turn: Turn) -> Outcome:
        try:
            line = await self._lines.connect()
        except aiosmtplib.SMTPResponseException as refusal:
            return outcome(read(refusal.code, refusal.message, Stage.CONNECT), Stage.CONNECT)
        except (aiosmtplib.SMTPException, OSError) as error:
            reason = f"no connection: {_explain(error)}"
            return RetryLater(reason=reason, after=_UNREACHABLE_PAUSE, provider_wide=True, fault=Fault.RELAY)
        return await self._send_over(line, mail, content, attempt, turn)

    async def _send_over(
        self, line: Line, mail: RenderedMail, content: bytes, attempt: _Attempt, turn: Turn
    ) -> Outcome:
        """One mail over one connection, which is kept only if it is still in step with us."""
        attempt.line_lost = False
        attempt.stage = Stage.MAIL
        line.carried[turn.destination.name] += 1
        keep = False
        try:
            result = await _transact(line.client, mail, content, attempt)
            keep = isinstance(result, Sent) or await _start_over(line)
        except _Refused as refusal:
            keep = not refusal.answer.closes and await _start_over(line)
            return _refused(refusal.answer, attempt, turn)
        except (aiosmtplib.SMTPException, OSError) as error:
            if attempt.handed_over:
                return Uncertain(reason=f"no answer to the final dot: {_explain(error)}")
            attempt.line_lost = isinstance(error, aiosmtplib.SMTPServerDisconnected)
            return RetryLater(reason=_explain(error), fault=Fault.RELAY)
        else:
            return result
        finally:
            if keep:
                self._lines.keep(line)
            else:
                line.client.close()


async def _transact(
    client: aiosmtplib.SMTP, mail: RenderedMail, content: bytes, attempt: _Attempt
) -> Sent | Failed:
    """MAIL, RCPT, DATA. Notes in `attempt` how far it came; raises _Refused, SMTPException, OSError."""
    options: list[str] = []
    if not mail.recipient.isascii():
        if not client.supports_extension("smtputf8"):
            return Failed(reason="the relay does not take addresses outside ASCII", fault=Fault.RELAY)
        options = ["SMTPUTF8", "BODY=8BITMIME"]
    try:
        await client.mail(mail.sender.address, options=options)
        attempt.stage = Stage.RECIPIENT
        await client.rcpt(mail.recipient, encoding="utf-8")
    except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientRefused) as refusal:
        raise _Refused(read(refusal.code, refusal.message, attempt.stage)) from refusal
    attempt.stage = Stage.DATA
    go_ahead = await client.execute_command(b"DATA")
    if go_ahead.code != SMTPStatus.start_input:
        raise _Refused(read(go_ahead.code, go_ahead.message, attempt.stage))
    attempt.stage = Stage.DOT
    answer = await _hand_over(client, content, attempt)
    if answer.code != SMTPStatus.completed:
        raise _Refused(read(answer.code, answer.message, attempt.stage))
    return Sent(provider_message_id=shortened(one_line(answer.message), 200))


async def _hand_over(client: aiosmtplib.SMTP, content: bytes, attempt: _Attempt) -> aiosmtplib.SMTPResponse:
    protocol = client.protocol
    if protocol is None:
        raise aiosmtplib.SMTPServerDisconnected("connection lost")
    ending = b"" if content.endswith(b"\r\n") else b"\r\n"
    protocol.write(_LINE_START_DOT.sub(b"..", content) + ending + b".\r\n")
    attempt.handed_over = True
    return await protocol.read_response(timeout=_DOT_SECONDS)


async def _start_over(line: Line) -> bool:
    """Whether the connection is in step again after a refusal."""
    try:
        await line.client.rset()
    except (aiosmtplib.SMTPException, OSError) as error:
        log.debug("smtp.line_dropped", reason=type(error).__name__)
        return False
    return True


def _refused(answer: Answer, attempt: _Attempt, turn: Turn) -> Outcome:
    result = outcome(answer, attempt.stage)
    if answer.scope is not Scope.DESTINATION:
        attempt.line_lost = answer.closes and answer.scope is Scope.MAIL and not attempt.handed_over
        return result
    assert isinstance(result, RetryLater)
    seconds = turn.rest(None if answer.after is None else answer.after.total_seconds())
    log.warning(
        "smtp.destination_rests",
        destination=turn.destination.name,
        seconds=round(seconds),
        reason=answer.text,
    )
    return replace(result, after=timedelta(seconds=seconds))


def _held_back(later: ComeBack) -> RetryLater:
    return RetryLater(
        reason="the destination rests" if later.rests else "the destination is busy",
        after=timedelta(seconds=later.seconds),
        held_back=True,
        fault=Fault.RATE,
    )


def _explain(error: Exception) -> str:
    return shortened(f"{type(error).__name__}: {without_addresses(one_line(str(error)))}", 300)
