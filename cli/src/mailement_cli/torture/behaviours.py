"""Ways to answer. A behaviour that leaves the connection open has answered well enough for the next request."""

from __future__ import annotations

import asyncio
import gzip
import struct
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET, socket
from typing import Final
from weakref import WeakSet

from mailement_cli.torture.received import Received

Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]

_BOMB_BYTES: Final = 50_000_000
_CROWD: Final = 1000
_SILENT_SECONDS: Final = 60
_PHRASED: Final = {status.value for status in HTTPStatus}


def answer(code: int, body: bytes = b"", *headers: str) -> bytes:
    """A proper answer, `headers` as `Name: value`."""
    phrase = HTTPStatus(code).phrase if code in _PHRASED else "Thus"
    lines = [f"HTTP/1.1 {code} {phrase}", *headers, f"Content-Length: {len(body)}"]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


async def ok(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, b"ok"))


def status(code: int, body: bytes = b"", *headers: str) -> Behaviour:
    async def behave(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(code, body, *headers))

    return behave


def redirect(target: str) -> Behaviour:
    return status(307, b"", f"Location: {target}")


def after(moment: asyncio.Event) -> Behaviour:
    """200, once the moment has come."""

    async def behave(request: Received, writer: asyncio.StreamWriter) -> None:
        await moment.wait()
        await ok(request, writer)

    return behave


async def slow(request: Received, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(request.number("seconds", 6))
    await ok(request, writer)


async def silence(_request: Received, writer: asyncio.StreamWriter) -> None:
    """Longer than anybody waits; then it hangs up, or forgotten connections would pile up."""
    await asyncio.sleep(_SILENT_SECONDS)
    writer.close()


async def slow_headers(_request: Received, writer: asyncio.StreamWriter) -> None:
    await _drip(b"HTTP/1.1 200 OK\r\nX-Patience: " + b"z" * 10_000, writer)


async def drip(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    await _drip(b"." * 100_000, writer)


async def _drip(stream: bytes, writer: asyncio.StreamWriter) -> None:
    for byte in stream:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    await _for_ever(b"x" * 65536, writer)


async def endless_chunks(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await _for_ever(b"1;note=" + b"n" * 1000 + b"\r\nx\r\n", writer)


async def endless_trailers(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trail: ")
    await _for_ever(b"t" * 65536, writer)


async def endless_headers(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await _for_ever(b"X-More: and more\r\n" * _CROWD, writer)


async def endless_header(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    await _for_ever(b"l" * 65536, writer)


async def endless_interim(_request: Received, writer: asyncio.StreamWriter) -> None:
    await _for_ever(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * _CROWD, writer)


async def _for_ever(piece: bytes, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


async def interim(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
    await ok(request, writer)


async def upgrade(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi"
    )


async def chunked(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"1\r\no\r\n1;note=last\r\nk\r\n0\r\nX-Sum: 2\r\n\r\n"
    )


async def bad_chunks(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nmany\r\n")


async def until_close(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.0 200 OK\r\n\r\nok")
    writer.close()


async def no_content(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def reset(_request: Received, writer: asyncio.StreamWriter) -> None:
    if writer.is_closing():
        return
    connection: socket = writer.get_extra_info("socket")
    connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset_body(request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
    await asyncio.sleep(0.1)
    await reset(request, writer)


async def hang_up(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def cut_headers(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    writer.close()


async def cut_short(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
    writer.close()


async def too_long(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more than was announced")


async def two_answers(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, b"ok") + answer(500, b"for the next who asks"))


async def late_bytes(request: Received, writer: asyncio.StreamWriter) -> None:
    await ok(request, writer)
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.write(answer(500, b"for the next who asks"))


async def two_lengths(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nok, ")


async def gzip_bomb(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, _bomb(), "Content-Encoding: gzip"))


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(_BOMB_BYTES), compresslevel=1)


async def gibberish(_request: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP ready\r\n")


async def close_idle(request: Received, writer: asyncio.StreamWriter) -> None:
    await ok(request, writer)
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()


class CloseOnReuse:
    """Answers a connection's first request, and hangs up on its second."""

    def __init__(self) -> None:
        self._known: WeakSet[asyncio.StreamWriter] = WeakSet()

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        if writer in self._known:
            writer.close()
        else:
            self._known.add(writer)
            await ok(request, writer)


class Flaky:
    """Fails the first tries of each `webhook-id`, as many as the query says."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = {}

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        message_id = next(iter(request.values("webhook-id")), "")
        tries = self._tries[message_id] = self._tries.pop(message_id, 0) + 1
        if len(self._tries) > _CROWD:
            del self._tries[next(iter(self._tries))]
        writer.write(answer(200 if tries > request.number("fail", 2) else 503))
