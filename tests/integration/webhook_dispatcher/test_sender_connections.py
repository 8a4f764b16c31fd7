"""What goes over the wire, and over which connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
import uvloop

from mailement_webhook_dispatcher.http.exchange import Exchange, FaultKind, Limits
from mailement_webhook_dispatcher.request import Request
from mailement_webhook_dispatcher.sender import Sender
from mailement_webhooks.rules.guard import Address, Guard, parse_networks
from tests.support.webhook_receiver import WebhookReceiver, self_signed, status

_LOCAL = Guard(allow=parse_networks("127.0.0.0/8"))
_LIMITS = Limits(connect_seconds=10, total_seconds=20)


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(_LOCAL) as ready:
        yield ready


async def _post(sender: Sender, url: str, *, reuse: bool = True) -> Exchange:
    request = Request(url=url, headers={"X-MiXed": "yes", "webhook-id": "7"}, body=b'{"a": 1}')
    return await sender.post(request, limits=_LIMITS, reuse=reuse)


async def test_the_request_goes_out_as_it_was_made(sender: Sender, receiver: WebhookReceiver) -> None:
    exchange = await _post(sender, receiver.url("/hook/a%2Fb?sig=%2B"))

    (request,) = receiver.requests
    assert (request.method, request.path, request.body) == ("POST", "/hook/a%2Fb?sig=%2B", b'{"a": 1}')
    assert request.headers == (
        ("Host", f"127.0.0.1:{receiver.port}"),
        ("X-MiXed", "yes"),
        ("webhook-id", "7"),
        ("Content-Length", "8"),
    )
    assert exchange.request_head.startswith("POST /hook/a%2Fb?sig=%2B HTTP/1.1\r\nHost: ")
    assert exchange.request_head.endswith("\r\nContent-Length: 8\r\n")


async def test_posts_one_after_another_share_a_connection(sender: Sender, receiver: WebhookReceiver) -> None:
    first = await _post(sender, receiver.url("/chunked"))
    second = await _post(sender, receiver.url("/1xx"))

    assert receiver.connections == 1
    assert (first.reused, second.reused) == (False, True)
    assert (first.phases.dns, first.phases.connect is None) == (None, False)
    assert (second.phases.dns, second.phases.connect, second.phases.tls) == (None, None, None)
    assert second.phases.first_byte is not None
    assert second.phases.body is not None


async def test_a_post_that_must_not_reuse_takes_and_leaves_no_connection(
    sender: Sender, receiver: WebhookReceiver
) -> None:
    await _post(sender, receiver.url())
    alone = await _post(sender, receiver.url(), reuse=False)
    again = await _post(sender, receiver.url())

    assert receiver.connections == 2
    assert (alone.reused, again.reused) == (False, True)
    assert receiver.requests[1].header("connection") == "close"


@pytest.mark.parametrize("path", ["/too-long", "/two-answers", "/until-close", "/cut-short", "/endless-body"])
async def test_a_connection_with_an_unclean_end_is_not_used_again(
    sender: Sender, receiver: WebhookReceiver, path: str
) -> None:
    await _post(sender, receiver.url(path))
    after = await _post(sender, receiver.url("/ok"))

    assert not after.reused
    assert after.answer is not None
    assert after.answer.body == b"ok"


@pytest.mark.parametrize("path", ["/late-bytes", "/close-idle"])
async def test_a_connection_that_stirs_while_idle_is_thrown_away(
    sender: Sender, receiver: WebhookReceiver, path: str
) -> None:
    await _post(sender, receiver.url(path))
    async with asyncio.timeout(10):
        while sender.idle_connections:
            await asyncio.sleep(0.01)
    after = await _post(sender, receiver.url("/ok"))

    assert not after.reused
    assert after.answer is not None
    assert after.answer.body == b"ok"


async def test_a_kept_connection_that_closes_unheard_is_replaced_once(
    sender: Sender, receiver: WebhookReceiver
) -> None:
    await _post(sender, receiver.url("/close-on-reuse"))
    second = await _post(sender, receiver.url("/close-on-reuse"))

    assert second.answer is not None
    assert (second.answer.status, second.fault, second.reused) == (200, None, False)
    assert second.phases.connect is not None
    assert receiver.connections == 2
    assert [request.header("webhook-id") for request in receiver.requests] == ["7", "7", "7"]


async def test_the_replacement_of_a_kept_connection_is_not_replaced_again(
    sender: Sender, receiver: WebhookReceiver
) -> None:
    await _post(sender, receiver.url("/ok"))
    cut = await _post(sender, receiver.url("/hang-up"))

    assert cut.fault is not None
    assert cut.fault.kind is FaultKind.RESET
    assert len(receiver.requests) == 3


async def test_a_fresh_connection_that_closes_is_not_tried_again(
    sender: Sender, receiver: WebhookReceiver
) -> None:
    await _post(sender, receiver.url("/hang-up"))

    assert len(receiver.requests) == 1


async def test_many_at_once_have_a_connection_each_and_keep_at_most_128(
    sender: Sender, receiver: WebhookReceiver
) -> None:
    exchanges = await asyncio.gather(*(_post(sender, receiver.url("/slow?seconds=0.5")) for _ in range(150)))

    assert {exchange.answer.status for exchange in exchanges if exchange.answer} == {200}
    assert receiver.connections == 150
    assert sender.idle_connections == 128


async def test_nothing_stays_open_behind_a_sender(receiver: WebhookReceiver) -> None:
    async with Sender(_LOCAL) as sender:
        await asyncio.gather(*(_post(sender, receiver.url()) for _ in range(5)))

    assert sender.idle_connections == 0
    async with asyncio.timeout(10):
        while receiver.visits:
            await asyncio.sleep(0.01)


async def test_a_cancelled_post_leaves_no_connection(sender: Sender, receiver: WebhookReceiver) -> None:
    waiting = asyncio.create_task(_post(sender, receiver.url("/drip")))
    await receiver.received(1)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    async with asyncio.timeout(10):
        while receiver.visits:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("half_closed", [False, True], ids=["open", "half closed"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_whoever_answers_without_reading_the_request_holds_no_connection(
    loop: Callable[[], asyncio.AbstractEventLoop], secure: bool, half_closed: bool, tmp_path: Path
) -> None:
    """What is still to be written would wait for the reader for ever."""
    tls = self_signed(tmp_path) if secure else None

    async def post() -> tuple[Exchange, float]:
        clock = asyncio.get_running_loop().time
        believing = ssl.create_default_context(cafile=str(tmp_path / "receiver.pem")) if secure else None
        async with (
            _answering_unread(tls, half_closed=half_closed) as port,
            Sender(_LOCAL, tls=believing) as sender,
        ):
            url = f"{'https' if secure else 'http'}://127.0.0.1:{port}/"
            request = Request(url=url, headers={}, body=b"x" * 30_000_000)
            exchange = await sender.post(request, limits=_LIMITS, reuse=True)
            ended = clock()
            while sender.open_connections and clock() < ended + 5:
                await asyncio.sleep(0.05)
            assert sender.idle_connections == 0
            return exchange, clock() - ended

    with asyncio.Runner(loop_factory=loop) as runner:
        exchange, seconds = runner.run(post())

    assert exchange.answer is not None
    assert seconds < 5


async def test_a_certificate_of_a_known_authority_is_believed_and_its_connection_kept(tmp_path: Path) -> None:
    tls = self_signed(tmp_path)
    believing = ssl.create_default_context(cafile=str(tmp_path / "receiver.pem"))
    async with WebhookReceiver(tls=tls) as receiver, Sender(_LOCAL, tls=believing) as sender:
        first = await _post(sender, receiver.url())
        second = await _post(sender, receiver.url())

    assert (first.fault, second.fault) == (None, None)
    assert (first.phases.tls is None, second.phases.tls, second.reused) == (False, None, True)


async def test_a_certificate_for_another_name_is_not_believed(tmp_path: Path) -> None:
    tls = self_signed(tmp_path)
    believing = ssl.create_default_context(cafile=str(tmp_path / "receiver.pem"))
    resolver = _Always("127.0.0.1")
    async with (
        WebhookReceiver(tls=tls) as receiver,
        Sender(_LOCAL, tls=believing, resolver=resolver) as sender,
    ):
        exchange = await _post(sender, f"https://other.example:{receiver.port}/")

    assert receiver.requests == []
    assert exchange.fault is not None
    assert exchange.fault.kind is FaultKind.TLS
    assert "certificate is not accepted" in exchange.fault.detail


async def test_tls_against_a_server_without_it_is_a_tls_failure(sender: Sender) -> None:
    async with _speaking_first(b"HTTP/1.1 400 Plain\r\n\r\n") as port:
        exchange = await _post(sender, f"https://127.0.0.1:{port}/")

    assert exchange.fault is not None
    assert exchange.fault.kind is FaultKind.TLS
    assert exchange.request_head == ""


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_handshake_that_does_not_go_on_is_given_up(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def post() -> Exchange:
        async with _speaking_first(b"") as port, Sender(_LOCAL) as sender:
            request = Request(url=f"https://127.0.0.1:{port}/", headers={}, body=b"")
            limits = Limits(connect_seconds=0.3, total_seconds=5)
            return await sender.post(request, limits=limits, reuse=True)

    with asyncio.Runner(loop_factory=loop) as runner:
        exchange = runner.run(post())

    assert exchange.fault is not None
    assert (exchange.fault.kind, exchange.phases.tls is None) == (FaultKind.CONNECT_TIMEOUT, False)


async def test_a_server_that_speaks_first_is_no_web_server(sender: Sender) -> None:
    async with _speaking_first(b"220 mail.example ESMTP ready\r\n") as port:
        exchange = await _post(sender, f"http://127.0.0.1:{port}/")

    assert exchange.fault is not None
    assert exchange.fault.kind is FaultKind.BAD_RESPONSE


async def test_the_second_address_is_tried_when_the_first_does_not_listen(receiver: WebhookReceiver) -> None:
    resolver = _Always("127.0.0.9", "127.0.0.1")
    async with Sender(_LOCAL, resolver=resolver) as sender:
        exchange = await _post(sender, f"http://receiver.example:{receiver.port}/hook")

    assert exchange.answer is not None
    assert receiver.requests[0].header("host") == f"receiver.example:{receiver.port}"


async def test_a_line_break_in_a_header_is_our_fault_and_is_not_sent(
    sender: Sender, receiver: WebhookReceiver
) -> None:
    request = Request(url=receiver.url(), headers={"X-Bad": "a\r\nX-Evil: b"}, body=b"")

    exchange = await sender.post(request, limits=_LIMITS, reuse=True)

    assert receiver.connections == 0
    assert exchange.fault is not None
    assert exchange.fault.kind is FaultKind.INTERNAL_ERROR


async def test_a_status_line_and_headers_come_back_as_sent(sender: Sender, receiver: WebhookReceiver) -> None:
    receiver.behave(status(202, b"", "X-Note: Thanks"))

    exchange = await _post(sender, receiver.url())

    assert exchange.answer is not None
    assert exchange.answer.head == "HTTP/1.1 202 Accepted\r\nX-Note: Thanks\r\nContent-Length: 0\r\n"


@asynccontextmanager
async def _speaking_first(words: bytes) -> AsyncIterator[int]:
    """A server that does not wait to be asked; yields its port."""

    visits: list[asyncio.Task[None]] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(words)
            with contextlib.suppress(OSError):
                await reader.read()
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(asyncio.create_task(speak(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for visit in visits:
            visit.cancel()
        await asyncio.gather(*visits, return_exceptions=True)


@asynccontextmanager
async def _answering_unread(tls: ssl.SSLContext | None, *, half_closed: bool) -> AsyncIterator[int]:
    """A server that answers at the first bytes of a request, and reads no more."""
    end = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if half_closed and writer.can_write_eof():
            writer.write_eof()
        await end.wait()
        writer.transport.abort()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            end.set()


class _Always:
    """Every name has these addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = [ip_address(address) for address in addresses]

    async def resolve(self, host: str) -> Sequence[Address]:
        return self._addresses

    def close(self) -> None:
        pass
