"""A receiver of webhooks in a process of its own: `python -m bench.webhooks.receiver PORT [--note]`.

It answers every POST with 200, at some 6 µs of CPU each. GET /count: how many there were; GET /sample: the last one as it came.
GET /silence/<name>: from now on a POST to /<name> is taken and never answered. With --note, GET /arrivals: for each POST its
path, its moment on the monotonic clock of this machine in seconds, and the address of its subscriber.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import orjson
import uvloop
from typing_extensions import override

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(slots=True, kw_only=True)
class Notes:
    """What came to all connections together."""

    notes_arrivals: bool
    count: int = 0
    sample: bytes = b""
    silent: set[str] = field(default_factory=set)
    arrivals: list[tuple[str, float, str]] = field(default_factory=list)

    def take(self, path: str, raw: bytes, body: bytes) -> None:
        self.count += 1
        self.sample = raw
        if self.notes_arrivals:
            email: str = orjson.loads(body)["data"]["subscriber"]["email"]
            self.arrivals.append((path, time.monotonic(), email))

    def tell(self, path: str) -> bytes:
        name = path.removeprefix("/silence")
        if name != path:
            self.silent.add(name)
        if path == "/arrivals":
            return orjson.dumps(self.arrivals)
        if path == "/sample":
            return self.sample
        return b"%d" % self.count


class Peer(asyncio.Protocol):
    """One connection. The parser calls what starts with `on_`."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._raw = self._body = b""
        self._path = ""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._raw += data
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url.decode("ascii")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        answer = self._answer()
        self._raw = self._body = b""
        if answer is not None and self._transport is not None:
            self._transport.write(answer)

    def _answer(self) -> bytes | None:
        """None: it waits for ever."""
        if self._parser.get_method() == b"POST":
            self._notes.take(self._path, self._raw, self._body)
            return None if self._path in self._notes.silent else _OK
        text = self._notes.tell(self._path)
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


async def receive(port: int, notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(notes), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(receive(int(sys.argv[1]), Notes(notes_arrivals="--note" in sys.argv)))
