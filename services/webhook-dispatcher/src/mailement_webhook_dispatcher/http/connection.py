"""One connection to a receiver: writes a request, hears the answer out, and says whether it may be kept."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from time import perf_counter
from typing import Final, cast

from typing_extensions import override

from mailement_webhook_dispatcher.http.exchange import Fault, FaultKind
from mailement_webhook_dispatcher.http.response import Response
from mailement_webhook_dispatcher.http.stopwatch import Stopwatch, milliseconds_since
from mailement_webhooks.rules.guard import Address

# So many bytes the kernel takes at once; larger requests may be answered before they are sent.
_SURELY_SENT: Final = 16 * 1024
# How long the end of a connection may take.
GOODBYE_SECONDS: Final = 1.0

_CUT: Final = Fault(kind=FaultKind.RESET, detail="the connection was cut")
_SPOKE_FIRST: Final = Fault(
    kind=FaultKind.BAD_RESPONSE, detail="the answer is not HTTP: the endpoint spoke before it was asked"
)
_SILENT: Final = Fault(kind=FaultKind.READ_TIMEOUT, detail="no answer within the time allowed")
_SLOW: Final = Fault(
    kind=FaultKind.BODY_TIMEOUT, detail="the answer began but did not end within the time allowed"
)


OnLost = Callable[["Connection"], None]


class Connection(asyncio.Protocol):
    """Carries one exchange at a time. `peer`: the address that was judged and dialled.

    What arrives while nobody waits for it closes the connection: it could only be taken for the answer to the
    next request. Nothing is buffered: a read is parsed as it comes, and what is not wanted ends the connection.
    """

    def __init__(self, plug: socket.socket, peer: Address, on_lost: OnLost) -> None:
        self.peer = peer
        self.lost = asyncio.get_running_loop().create_future()
        self._plug = plug
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._response: Response | None = None
        self._waiting: asyncio.Future[Fault | None] | None = None
        self._sent_at = 0.0
        self._sent_bytes = 0
        self._heard_at: float | None = None
        self._spoke_first = False
        self._goodbye: asyncio.TimerHandle | None = None

    @property
    def keepable(self) -> bool:
        """Open, and the last request went out whole."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > 0:
            return False
        # Under TLS the loop says nothing of what still waits in the socket's own buffer.
        return self._sent_bytes <= _SURELY_SENT or transport.get_extra_info("ssl_object") is None

    @property
    def heard_nothing(self) -> bool:
        """Not one byte came in the last exchange."""
        return self._heard_at is None

    def is_quiet(self) -> bool:
        """Whether nothing has come, no end either. Asks the kernel: the loop may not have come to read it yet."""
        try:
            self._plug.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def exchange(
        self, message: bytes, watch: Stopwatch, *, seconds: float
    ) -> tuple[Response, Fault | None]:
        """Sends the request and hears the answer, for at most `seconds`; then the connection is kept or closed."""
        assert self._transport is not None
        response = self._response = Response()
        waiting = self._waiting = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._run_out)
        self._heard_at = None
        self._sent_at = perf_counter()
        self._sent_bytes = len(message)
        try:
            if self._transport.is_closing():
                self._finish(_SPOKE_FIRST if self._spoke_first else _CUT)
            else:
                self._transport.write(message)
            fault = await waiting
        except BaseException:
            self.abort()
            raise
        finally:
            timer.cancel()
            self._response = self._waiting = None
            self._stop(watch)
        if response.flaw is not None:
            fault = Fault(kind=FaultKind.BAD_RESPONSE, detail=response.flaw)
        if fault is not None or not response.complete:
            self.abort()
        return response, fault

    def close(self) -> None:
        """Says goodbye, where TLS wants one. Whoever does not read what is still to be written is not waited for long."""
        if self._transport is None or self.lost.done():
            return
        if not self._transport.is_closing():
            self._transport.close()
        if self._goodbye is None:
            self._goodbye = self._loop.call_later(GOODBYE_SECONDS, self.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _stop(self, watch: Stopwatch) -> None:
        if self._heard_at is None:
            watch.first_byte = milliseconds_since(self._sent_at)
        else:
            watch.first_byte = round((self._heard_at - self._sent_at) * 1000)
            watch.body = milliseconds_since(self._heard_at)

    def _finish(self, fault: Fault | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(fault)

    def _run_out(self) -> None:
        began = self._response is not None and self._response.answer_began
        self._finish(_SLOW if began else _SILENT)

    # What the loop calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    @override
    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None or response.over():
            self._spoke_first = True
            self.abort()
            return
        if self._heard_at is None:
            self._heard_at = perf_counter()
        response.feed(data)
        if not response.over():
            return
        if not response.complete:
            self.abort()
        self._finish(None)

    @override
    def eof_received(self) -> None:
        if self._response is not None and self._heard_at is not None:
            self._response.end()
            self._finish(None)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(_broken(exc) if self._response is None or not self._response.over() else None)
        if self._goodbye is not None:
            self._goodbye.cancel()
        if not self.lost.done():
            self.lost.set_result(None)
        self._on_lost(self)


def _broken(error: Exception | None) -> Fault:
    if isinstance(error, ssl.SSLError):
        return Fault(kind=FaultKind.TLS, detail=f"TLS failed: {tls_reason(error)}")
    return _CUT


def tls_reason(error: ssl.SSLError) -> str:
    """The library's own words, without file names and numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    return (error.reason or "the handshake failed").replace("_", " ").lower()
