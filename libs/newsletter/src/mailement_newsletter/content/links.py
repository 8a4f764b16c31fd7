"""The links of a mail as we can count them: found and numbered once for a source, and signed for each message.

A token names a message and the number of a link, and never an address: who follows it is sent to what stood in the
mail. So nobody can make a link of ours that leads elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from html import escape, unescape
from typing import Final

from mailement_common.sealing import KeyRing
from mailement_newsletter.content.markup import Attribute, Kind, attributes, pieces

_PURPOSE: Final = "mail-link"
# The key, the type, the message, the link's number.
_FACTS: Final = struct.Struct(">BBQH")
_MAC_BYTES: Final = 10
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{30}")
_MOST_LINKS: Final = 2**16 - 1

_WEB: Final = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)
_BODY_END: Final = re.compile(r"</body\s*>", re.IGNORECASE)


class NotOurToken(Exception):
    """The token was not made by this installation, or was damaged on its way."""


class TokenType(IntEnum):
    """A byte of the token; a number is never used for another type."""

    CLICK = 1
    PIXEL = 2


@dataclass(frozen=True, slots=True)
class Token:
    """`link`: the number of a link in its mail, from 0; 0 for a pixel."""

    type: TokenType
    message_id: int
    link: int


class Tokens:
    """Makes tokens with the first key of a ring, and reads those of all its keys."""

    def __init__(self, keys: KeyRing) -> None:
        derived = list(keys.derived(purpose=_PURPOSE).values())
        self._first = derived[0]
        self._by_mark: dict[int, list[bytes]] = {}
        for key in derived:
            self._by_mark.setdefault(_mark(key), []).append(key)

    def make(self, token: Token) -> str:
        """30 characters that a URL takes as they are."""
        facts = _FACTS.pack(_mark(self._first), token.type, token.message_id, token.link)
        return base64.urlsafe_b64encode(facts + _mac(self._first, facts)).rstrip(b"=").decode()

    def read(self, text: str) -> Token:
        """Raises NotOurToken."""
        raw = _decoded(text)
        facts, mac = raw[: _FACTS.size], raw[_FACTS.size :]
        mark, kind, message_id, link = _FACTS.unpack(facts)
        # All of them are tried, and each in the same time.
        genuine = [hmac.compare_digest(_mac(key, facts), mac) for key in self._by_mark.get(mark, ())]
        if not any(genuine):
            raise NotOurToken
        try:
            return Token(TokenType(kind), message_id, link)
        except ValueError as error:
            # Of a later release.
            raise NotOurToken from error


@dataclass(frozen=True, slots=True)
class Slotted:
    """A source whose links are slots; `links` are the addresses that stood there, by their numbers."""

    source: str
    links: Sequence[str]
    mark: str

    def filled(self, rendered: str, url_of: Callable[[int], str]) -> str:
        """What was rendered of the source, with the URL of each link's number in its slots."""
        return re.sub(
            rf"{self.mark}(\d+)z", lambda slot: escape(url_of(int(slot[1]))), rendered, flags=re.ASCII
        )


def slotted(source: str) -> Slotted:
    """Of HTML with Liquid in it: what leads to the web becomes a slot, all else stays as it is.

    A link that Liquid makes is another one for each reader and stays too; so does, for that reason, the unsubscribe link.
    """
    # The digest of the source is not in the source, and nobody who fills in a form knows it.
    mark = f"slot{hashlib.sha256(source.encode(errors='replace')).hexdigest()[:20]}x"
    parts: list[str] = []
    links: list[str] = []
    end = 0
    for link in _web_links(source):
        parts += source[end : link.start], f"{mark}{len(links)}z"
        links.append(unescape(link.value).strip())
        end = link.end
        if len(links) == _MOST_LINKS:
            break
    return Slotted("".join((*parts, source[end:])), links, mark)


def with_pixel(html: str, url: str) -> str:
    """The mail with an image at its end that tells that it was shown."""
    pixel = f'<img src="{escape(url)}" width="1" height="1" alt="" style="display:block;border:0">'
    ends = list(_BODY_END.finditer(html))
    end = ends[-1].start() if ends else len(html)
    return f"{html[:end]}{pixel}{html[end:]}"


def _web_links(source: str) -> Iterator[Attribute]:
    for piece in pieces(source):
        if piece.kind is Kind.OPEN and piece.name in {"a", "area"} and source[piece.end - 1] == ">":
            yield from (each for each in attributes(source, piece) if _leads_to_web(each))


def _leads_to_web(attribute: Attribute) -> bool:
    return (
        attribute.name == "href"
        and _WEB.match(unescape(attribute.value).strip()) is not None
        and "{{" not in attribute.value
        and "{%" not in attribute.value
    )


def _decoded(text: str) -> bytes:
    """Raises NotOurToken: also where other letters would say the same bytes."""
    if not _TOKEN.fullmatch(text):
        raise NotOurToken
    try:
        raw = base64.urlsafe_b64decode(text + "==")
    except binascii.Error as error:
        raise NotOurToken from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise NotOurToken
    return raw


def _mark(key: bytes) -> int:
    """Tells keys apart, mostly, and tells nothing of them."""
    return _mac(key, b"which key")[0]


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)[:_MAC_BYTES]
