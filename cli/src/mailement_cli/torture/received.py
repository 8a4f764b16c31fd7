"""One request, read off the wire as it came."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import isfinite
from typing import Final
from urllib.parse import parse_qs, urlsplit

_MOST_OF_BODY: Final = 16 * 1024 * 1024
_MOST_DIGITS: Final = 20


class NotARequest(Exception):
    """The bytes are no HTTP request that this receiver can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """`path`: with the query. `headers`: as they came, names in their own letters, in order."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        """The one value under this name, in any letters. Raises ValueError if there is none, or more than one."""
        (value,) = self.values(name)
        return value

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def number(self, name: str, otherwise: float) -> float:
        """A finite number out of the query."""
        try:
            number = float(parse_qs(urlsplit(self.path).query)[name][0])
        except (KeyError, ValueError):
            return otherwise
        return number if isfinite(number) else otherwise


async def read_request(reader: asyncio.StreamReader) -> Received | None:
    """The next request of a connection; None where there is none. Raises NotARequest, OSError."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise NotARequest("the headers are too long") from error
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        raise NotARequest("the first line is no request line")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return Received(method=words[0], path=words[1], headers=headers, body=await _body(reader, headers))


async def _body(reader: asyncio.StreamReader, headers: tuple[tuple[str, str], ...]) -> bytes:
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    if not lengths:
        return b""
    if not lengths[0].isdecimal() or len(lengths[0]) > _MOST_DIGITS or int(lengths[0]) > _MOST_OF_BODY:
        raise NotARequest("the length is no number, or too large")
    try:
        return await reader.readexactly(int(lengths[0]))
    except asyncio.IncompleteReadError as error:
        raise NotARequest("the body is shorter than it said") from error
