"""Ends of the line that take everything and count it: `python -m bench.mail.sinks KIND PORT COUNT_PORT`.

KIND is `smtp` or `resend`. On COUNT_PORT, `/count` says how many mails have come, `/sample` gives one as it came, and
`/times` when those came whose recipient is at `timed.example`. They do as little as they can: what is measured is who sends.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from dataclasses import dataclass, field
from typing import cast
from uuid import uuid4

import orjson
import uvloop
from typing_extensions import override

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TIMED = re.compile(rb"[\w.-]+@timed\.example")


@dataclass(slots=True)
class Count:
    mails: int = 0
    sample: bytes = b""
    times: dict[str, float] = field(default_factory=dict)

    def note(self, content: bytes, recipient: bytes, mails: int = 1) -> None:
        self.mails += mails
        if not self.sample:
            self.sample = content
        for found in _TIMED.findall(recipient):
            self.times.setdefault(found.decode(), time.time())


class SmtpSink(asyncio.Protocol):
    """Just enough of RFC 5321, with PIPELINING."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._buffer = b""
        self._recipient = b""
        self._in_data = False
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own, which is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        assert self._transport is not None
        answers = b""
        while True:
            if self._in_data:
                content, dot, rest = self._buffer.partition(b"\r\n.\r\n")
                if not dot:
                    break
                self._buffer, self._in_data = rest, False
                self._count.note(content + b"\r\n", self._recipient)
                answers += b"250 2.0.0 taken\r\n"
                continue
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                break
            self._buffer = rest
            answers += self._answer(line)
        if answers:
            self._transport.write(answers)

    def _answer(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        match verb:
            case b"EHLO":
                return b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 50000000\r\n"
            case b"RCPT":
                self._recipient = line
                return b"250 2.1.5 ok\r\n"
            case b"DATA":
                self._in_data = True
                return b"354 go on\r\n"
            case b"QUIT":
                return b"221 2.0.0 bye\r\n"
            case _:
                return b"250 2.0.0 ok\r\n"


class ResendSink(asyncio.Protocol):
    """Answers every POST to /emails and /emails/batch with ids, without looking at what is in it."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own, which is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        assert self._transport is not None
        while True:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            length = int(found[1]) if (found := _LENGTH.search(head)) else 0
            if len(rest) < length:
                return
            body, self._buffer = rest[:length], rest[length:]
            self._transport.write(self._answer(head, body))

    def _answer(self, head: bytes, body: bytes) -> bytes:
        is_batch = head.startswith(b"POST /emails/batch")
        mails = body.count(b'"subject":') if is_batch else 1
        self._count.note(body, body if b"timed.example" in body else b"", mails)
        answer: object = {"id": str(uuid4())}
        if is_batch:
            answer = {"data": [{"id": str(uuid4())} for _ in range(mails)], "errors": []}
        content = orjson.dumps(answer)
        return (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
            + str(len(content)).encode()
            + b"\r\n\r\n"
            + content
        )


class Counter(asyncio.Protocol):
    """`/count`, `/sample` and `/times` over HTTP."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own, which is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if data.startswith(b"GET /sample"):
            content = self._count.sample
        elif data.startswith(b"GET /times"):
            content = orjson.dumps(self._count.times)
        else:
            content = str(self._count.mails).encode()
        head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(content)}\r\n\r\n"
        self._transport.write(head.encode() + content)
        self._transport.close()


async def serve(kind: str, port: int, count_port: int) -> None:
    count = Count()
    loop = asyncio.get_running_loop()
    end = SmtpSink if kind == "smtp" else ResendSink
    await loop.create_server(lambda: end(count), "127.0.0.1", port)
    await loop.create_server(lambda: Counter(count), "127.0.0.1", count_port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
