"""Every way to misbehave, through the sender: bounded in time and memory, and named by its class."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import pytest
import uvloop

from mailement_cli.torture.modes import modes
from mailement_common.clock import SystemClock
from mailement_webhook_dispatcher.http.exchange import Answer, Exchange, FaultKind, Limits
from mailement_webhook_dispatcher.request import Request
from mailement_webhook_dispatcher.sender import Sender
from mailement_webhooks.rules.guard import Guard, parse_networks
from tests.support.webhook_receiver import WebhookReceiver

_LOCAL = Guard(allow=parse_networks("127.0.0.0/8"))
_TOTAL_SECONDS = 0.4
_IMPATIENT = Limits(connect_seconds=_TOTAL_SECONDS, total_seconds=_TOTAL_SECONDS)
_PATIENT = Limits(connect_seconds=10, total_seconds=20)
_LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """`within`: the limits that the mode is met with; those that never end are cut off by the shorter ones."""

    status: int | None
    fault: FaultKind | None = None
    within: Limits = _PATIENT


_FINE = Expected(status=200)
_NO_ANSWER = Expected(status=None, fault=FaultKind.BAD_RESPONSE)
_BROKEN = Expected(status=200, fault=FaultKind.BAD_RESPONSE)
_CUT = Expected(status=None, fault=FaultKind.RESET)
_MUTE = Expected(status=None, fault=FaultKind.READ_TIMEOUT, within=_IMPATIENT)

EXPECTED = {
    "/ok": _FINE,
    "/no-content": Expected(status=204),
    "/slow": _MUTE,
    "/silence": _MUTE,
    "/slow-headers": _MUTE,
    "/drip": Expected(status=200, fault=FaultKind.BODY_TIMEOUT, within=_IMPATIENT),
    "/endless-body": _FINE,
    "/endless-chunks": _FINE,
    "/endless-trailers": _FINE,
    "/endless-headers": _NO_ANSWER,
    "/endless-header": _NO_ANSWER,
    "/endless-1xx": _NO_ANSWER,
    "/1xx": _FINE,
    "/upgrade": _NO_ANSWER,
    "/chunked": _FINE,
    "/bad-chunks": _BROKEN,
    "/until-close": _FINE,
    "/reset": _CUT,
    "/reset-body": Expected(status=200, fault=FaultKind.RESET),
    "/hang-up": _CUT,
    "/cut-headers": _NO_ANSWER,
    "/cut-short": _BROKEN,
    "/too-long": _FINE,
    "/two-answers": _FINE,
    "/late-bytes": _FINE,
    "/two-lengths": _NO_ANSWER,
    "/gzip-bomb": _FINE,
    "/gibberish": _NO_ANSWER,
    "/redirect-metadata": Expected(status=307),
    "/429": Expected(status=429),
    "/429-date": Expected(status=429),
    "/503": Expected(status=503),
    "/400": Expected(status=400),
    "/410": Expected(status=410),
    "/500": Expected(status=500),
    "/close-idle": _FINE,
    "/close-on-reuse": _FINE,
    "/flaky": Expected(status=503),
    "/status/299": Expected(status=299),
    "/status/404": Expected(status=404),
}


def _request(url: str) -> Request:
    return Request(url=url, headers={"webhook-id": "7"}, body=b"{}")


def test_every_mode_is_expected() -> None:
    assert set(EXPECTED) >= set(modes(SystemClock()))


@pytest.mark.parametrize("loop", _LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("reuse", [True, False], ids=["kept", "fresh"])
@pytest.mark.parametrize(("path", "expected"), EXPECTED.items(), ids=EXPECTED)
def test_a_mode_ends_in_time_with_its_class(
    path: str, expected: Expected, reuse: bool, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def post() -> tuple[Exchange, float]:
        async with WebhookReceiver() as receiver, Sender(_LOCAL) as sender:
            started = perf_counter()
            exchange = await sender.post(_request(receiver.url(path)), limits=expected.within, reuse=reuse)
            return exchange, perf_counter() - started

    with asyncio.Runner(loop_factory=loop) as runner:
        exchange, seconds = runner.run(post())

    assert exchange.answer is None if expected.status is None else exchange.answer is not None
    assert (exchange.answer and exchange.answer.status) == expected.status
    assert (exchange.fault and exchange.fault.kind) == expected.fault
    assert seconds < expected.within.total_seconds + 5
    assert exchange.answer is None or len(exchange.answer.body) <= 4096


@pytest.mark.parametrize(
    ("path", "complete", "length"),
    [
        ("/endless-body", False, 4096),
        ("/gzip-bomb", False, 4096),
        ("/too-long", True, 2),
        ("/chunked", True, 2),
    ],
)
async def test_4_kib_of_an_answer_are_kept_and_whether_that_was_all(
    receiver: WebhookReceiver, path: str, complete: bool, length: int
) -> None:
    answer = await _answer(receiver, path)

    assert (answer.complete, len(answer.body)) == (complete, length)


async def test_compressed_bytes_stay_as_they_are(receiver: WebhookReceiver) -> None:
    answer = await _answer(receiver, "/gzip-bomb")

    assert answer.body.startswith(b"\x1f\x8b")


@pytest.mark.parametrize(
    "path",
    [
        "/endless-body",
        "/endless-chunks",
        "/endless-trailers",
        "/endless-headers",
        "/endless-header",
        "/endless-1xx",
        "/gzip-bomb",
    ],
)
async def test_floods_are_not_kept_in_memory(receiver: WebhookReceiver, path: str) -> None:
    async with Sender(_LOCAL) as sender:
        request = _request(receiver.url(path))
        await sender.post(request, limits=_PATIENT, reuse=True)
        tracemalloc.start()
        try:
            exchanges = [await sender.post(request, limits=_PATIENT, reuse=True) for _ in range(20)]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert len(exchanges) == 20
    assert peak < 4_000_000


async def test_a_redirect_is_not_followed(receiver: WebhookReceiver) -> None:
    answer = await _answer(receiver, "/redirect-metadata")

    assert answer.header("location") == "http://169.254.169.254/latest/meta-data/"
    assert len(receiver.requests) == 1


async def test_a_slow_receiver_does_not_hold_up_a_quick_one(receiver: WebhookReceiver) -> None:
    async with Sender(_LOCAL) as sender, asyncio.TaskGroup() as group:
        stuck = [
            group.create_task(sender.post(_request(receiver.url("/drip")), limits=_IMPATIENT, reuse=True))
            for _ in range(50)
        ]
        quick = await sender.post(_request(receiver.url("/ok")), limits=_PATIENT, reuse=True)

        assert quick.answer is not None
        assert not any(post.done() for post in stuck)


async def _answer(receiver: WebhookReceiver, path: str) -> Answer:
    async with Sender(_LOCAL) as sender:
        exchange = await sender.post(_request(receiver.url(path)), limits=_PATIENT, reuse=False)
    assert exchange.answer is not None
    return exchange.answer
