"""Every answer and every fault has its class."""

from __future__ import annotations

import socket
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from mailement_webhook_dispatcher.outcome import AddressBlocked, Answer, Delivered, Failed, Fault, judge
from mailement_webhooks.deliveries import Reason

_KEY = ConnectionKey("receiver.example", 443, True, True, None, None, None)


def _connecting(cause: OSError) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(_KEY, cause)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    answer = Answer(status=status, body=b"")

    assert judge(answer) == Delivered(answer=answer)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (101, Reason.HTTP_OTHER),
        (300, Reason.REDIRECT),
        (301, Reason.REDIRECT),
        (304, Reason.REDIRECT),
        (308, Reason.REDIRECT),
        (400, Reason.HTTP_4XX),
        (410, Reason.HTTP_4XX),
        (429, Reason.HTTP_4XX),
        (500, Reason.HTTP_5XX),
        (599, Reason.HTTP_5XX),
        (600, Reason.HTTP_OTHER),
    ],
)
def test_every_other_status_has_failed(status: int, reason: Reason) -> None:
    answer = Answer(status=status, body=b"no")

    outcome = judge(answer)

    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.answer) == (reason, answer)


def test_a_redirect_names_its_target_without_the_query() -> None:
    outcome = judge(Answer(status=302, body=b"", location="https://a.example/new?token=hidden#top"))

    assert isinstance(outcome, Failed)
    assert outcome.detail == "the endpoint redirects to https://a.example/new; set that URL instead"


def test_a_redirect_to_nonsense_is_still_a_redirect() -> None:
    outcome = judge(Answer(status=302, body=b"", location="http://[nonsense"))

    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.REDIRECT


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (_connecting(AddressBlocked("10.0.0.1 is not a public address")), Reason.BLOCKED_ADDRESS),
        (aiohttp.ClientConnectorDNSError(_KEY, socket.gaierror(-2, "unknown")), Reason.DNS),
        (_connecting(ConnectionRefusedError(111, "refused")), Reason.CONNECT_REFUSED),
        (_connecting(ConnectionResetError(104, "reset")), Reason.RESET),
        (_connecting(OSError(113, "No route to host")), Reason.CONNECT_FAILED),
        (_connecting(OSError("Multiple exceptions: …")), Reason.CONNECT_FAILED),
        (aiohttp.ClientConnectorSSLError(_KEY, ssl.SSLError(1, "handshake failure")), Reason.TLS),
        (
            aiohttp.ClientConnectorCertificateError(_KEY, ssl.SSLCertVerificationError(1, "expired")),
            Reason.TLS,
        ),
        (aiohttp.ConnectionTimeoutError(), Reason.CONNECT_TIMEOUT),
        (TimeoutError(), Reason.READ_TIMEOUT),
        (aiohttp.SocketTimeoutError(), Reason.READ_TIMEOUT),
        (aiohttp.ServerDisconnectedError(), Reason.RESET),
        (aiohttp.ClientOSError(104, "reset"), Reason.RESET),
        (aiohttp.ClientPayloadError(), Reason.BAD_RESPONSE),
        (aiohttp.InvalidURL("http://…"), Reason.BAD_URL),
        (UnicodeError("label too long"), Reason.BAD_URL),
        (RuntimeError("a mistake of ours"), Reason.INTERNAL_ERROR),
    ],
)
def test_every_fault_has_its_class(error: Exception, reason: Reason) -> None:
    outcome = judge(Fault(error=error))

    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.answer) == (reason, None)
    assert outcome.detail


def test_a_body_that_does_not_end_is_told_from_an_answer_that_never_began() -> None:
    begun = Answer(status=200, body=b"...")

    outcome = judge(Fault(error=TimeoutError(), answer=begun))

    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.answer) == (Reason.BODY_TIMEOUT, begun)
