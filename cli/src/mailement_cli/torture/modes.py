"""Every way to behave, by its path."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from typing import Final
from urllib.parse import urlsplit

from mailement_cli.torture import behaviours as b
from mailement_cli.torture.behaviours import Behaviour
from mailement_cli.torture.received import Received
from mailement_common.clock import Clock

_METADATA: Final = "http://169.254.169.254/latest/meta-data/"
_STATUS: Final = re.compile(r"/status/([2-9][0-9][0-9])", re.ASCII)
_WAIT: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """`sentence`: what it does, for people."""

    path: str
    sentence: str
    behaviour: Behaviour


def modes(clock: Clock) -> dict[str, Mode]:
    """Those with a memory start with an empty one."""
    return {
        path: Mode(path=path, sentence=sentence, behaviour=behaviour)
        for path, sentence, behaviour in (
            ("/ok", "200 and a short body", b.ok),
            ("/no-content", "204, which has no body", b.no_content),
            ("/slow", "200 after ?seconds=6", b.slow),
            ("/silence", "accepts the request and never says a word", b.silence),
            ("/slow-headers", "a byte of the headers every 50 ms", b.slow_headers),
            ("/drip", "a byte of the body every 50 ms", b.drip),
            ("/endless-body", "a body that never ends", b.endless),
            ("/endless-chunks", "chunks of one byte, each with a long note, without end", b.endless_chunks),
            ("/endless-trailers", "a short body, then a trailer that never ends", b.endless_trailers),
            ("/endless-headers", "headers that never end", b.endless_headers),
            ("/endless-header", "one header whose value never ends", b.endless_header),
            ("/endless-1xx", "one interim answer after another, never the real one", b.endless_interim),
            ("/1xx", "100, then 103, then 200", b.interim),
            ("/upgrade", "101, and goes on in another protocol", b.upgrade),
            ("/chunked", "a body in chunks, with a trailer", b.chunked),
            ("/bad-chunks", "a chunk whose size is no number", b.bad_chunks),
            ("/until-close", "HTTP/1.0 without a length: the body ends with the connection", b.until_close),
            ("/reset", "cuts the connection instead of answering", b.reset),
            ("/reset-body", "cuts the connection in the middle of the body", b.reset_body),
            ("/hang-up", "closes the connection without a word", b.hang_up),
            ("/cut-headers", "closes in the middle of the headers", b.cut_headers),
            ("/cut-short", "announces 1000 bytes, sends nine and closes", b.cut_short),
            ("/too-long", "announces two bytes and sends more", b.too_long),
            ("/two-answers", "sends a second answer that nobody asked for", b.two_answers),
            ("/late-bytes", "the same, 50 ms after the first", b.late_bytes),
            ("/two-lengths", "announces two different lengths", b.two_lengths),
            ("/gzip-bomb", "200 KiB that unpack to 50 MB", b.gzip_bomb),
            ("/gibberish", "answers in another protocol", b.gibberish),
            ("/redirect-metadata", "redirects to a cloud's metadata", b.redirect(_METADATA)),
            ("/429", "429, Retry-After in seconds", b.status(429, b"", f"Retry-After: {_WAIT.seconds}")),
            ("/429-date", "429, Retry-After as a date", _busy_until(clock)),
            ("/503", "503, Retry-After in seconds", b.status(503, b"", f"Retry-After: {_WAIT.seconds}")),
            ("/400", "400", b.status(400)),
            ("/410", "410: gone for good", b.status(410)),
            ("/500", "500", b.status(500)),
            ("/close-idle", "200, then closes the connection that could be kept", b.close_idle),
            ("/close-on-reuse", "hangs up on the second request of a connection", b.CloseOnReuse()),
            ("/flaky", "503 for the first ?fail=2 tries of each webhook-id, then 200", b.Flaky()),
        )
    }


def behaviour_at(path: str, known: dict[str, Mode]) -> Behaviour:
    """By the path without its query; `/status/<n>` answers n, an unknown path 404."""
    plain = urlsplit(path).path
    if (mode := known.get(plain)) is not None:
        return mode.behaviour
    if (code := _STATUS.fullmatch(plain)) is not None:
        return b.status(int(code[1]))
    return b.status(404, b"no such mode; see mailement torture-receiver --list\n")


def _busy_until(clock: Clock) -> Behaviour:
    async def behave(_request: Received, writer: asyncio.StreamWriter) -> None:
        until = format_datetime(clock.now() + _WAIT, usegmt=True)
        writer.write(b.answer(429, b"", f"Retry-After: {until}"))

    return behave
