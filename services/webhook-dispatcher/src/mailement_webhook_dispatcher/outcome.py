"""What an attempt came to, judged from what came back or from what went wrong."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from typing_extensions import override

from mailement_webhooks.deliveries import Reason

_LONGEST_DETAIL: Final = 300


class AddressBlocked(OSError):
    """The guard refused an address at the socket; `reason` says why in words.

    Its text is the same for every address of a name, or the connector would melt several refusals into one
    unspecific error.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @override
    def __str__(self) -> str:
        return "the address is not allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, and as much of the body as was read. `location`: where a redirect points."""

    status: int
    body: bytes
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The exchange broke off. `answer`: what had come by then, if anything."""

    error: Exception
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """`detail` says it in words for people."""

    reason: Reason
    detail: str
    answer: Answer | None = None


Outcome = Delivered | Failed


def judge(result: Answer | Fault) -> Outcome:
    """2xx, complete and in time, is delivered; everything else has failed, redirects too."""
    if isinstance(result, Answer):
        return _judge_status(result)
    reason, detail = _classify(result.error, has_status=result.answer is not None)
    return Failed(reason=reason, detail=detail[:_LONGEST_DETAIL], answer=result.answer)


def _judge_status(answer: Answer) -> Outcome:
    match answer.status // 100:
        case 2:
            return Delivered(answer=answer)
        case 3:
            return Failed(reason=Reason.REDIRECT, detail=_redirect(answer.location), answer=answer)
        case 4:
            reason = Reason.HTTP_4XX
        case 5:
            reason = Reason.HTTP_5XX
        case _:
            reason = Reason.HTTP_OTHER
    return Failed(reason=reason, detail=f"the endpoint answered {answer.status}", answer=answer)


def _redirect(location: str | None) -> str:
    """Without the query, which may carry a secret."""
    if location is None:
        return "the endpoint answered with a redirect; these are not followed"
    try:
        target = urlsplit(location)._replace(query="", fragment="").geturl()
    except ValueError:
        target = "somewhere else"
    return f"the endpoint redirects to {target}; set that URL instead"[:_LONGEST_DETAIL]


def _classify(error: Exception, *, has_status: bool) -> tuple[Reason, str]:
    """From the most special class to the most general, because many of them are OSErrors too."""
    match error:
        case aiohttp.ClientConnectorError():
            return _classify_connecting(error)
        case aiohttp.ConnectionTimeoutError():
            return Reason.CONNECT_TIMEOUT, "no connection within the time allowed"
        case TimeoutError() if has_status:
            return Reason.BODY_TIMEOUT, "the answer began but did not end within the time allowed"
        case TimeoutError():
            return Reason.READ_TIMEOUT, "no answer within the time allowed"
        case ssl.SSLError():
            return Reason.TLS, str(error)
        case aiohttp.ServerDisconnectedError() | OSError():
            return Reason.RESET, "the connection was cut"
        case aiohttp.ClientResponseError(message=message):
            return Reason.BAD_RESPONSE, f"the answer is not HTTP: {message}"
        case aiohttp.ClientPayloadError():
            return Reason.BAD_RESPONSE, "the answer ended before it was complete"
        case aiohttp.ClientError() | ValueError():
            return Reason.BAD_URL, "the URL cannot be dialled"
        case _:
            return Reason.INTERNAL_ERROR, type(error).__name__


def _classify_connecting(error: aiohttp.ClientConnectorError) -> tuple[Reason, str]:
    match error.os_error:
        case AddressBlocked(reason=why):
            return Reason.BLOCKED_ADDRESS, why
        case socket.gaierror():
            return Reason.DNS, "the host's name could not be resolved"
        case ssl.SSLError() as cause:
            return Reason.TLS, str(cause)
        case ConnectionRefusedError():
            return Reason.CONNECT_REFUSED, "nothing listens at the address"
        case ConnectionResetError():
            return Reason.RESET, "the connection was cut"
        case cause:
            return Reason.CONNECT_FAILED, cause.strerror or str(cause)
