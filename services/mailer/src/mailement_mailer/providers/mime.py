"""RFC 5322 bytes of a mail, built by hand: the standard library takes nine times as long. The same mail gives the same
bytes.

Bodies are quoted-printable (RFC 2045, 6.7), or base64 where that is shorter by far; no line of theirs begins with a dot
or with `From `, which relays and mail stores of old would change. What a header cannot hold as it is becomes encoded
words (RFC 2047).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from email.utils import quote
from typing import Final

from mailement_mailer.mailbox import Mailbox
from mailement_mailer.providers.port import RenderedMail

_LINE: Final = 76
_HEADER_LINE: Final = 78
# RFC 5322: no line may have more, however it is folded.
_LONGEST_WORD: Final = 900
_ENCODED_WORD: Final = 75
_FRAME: Final = len("=?utf-8?q??=")

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_LURING_LINE: Final = re.compile(rb"^(?:\.|From )[^\r\n]*", re.MULTILINE)
# b2a_qp forgets to count the space at a line's end that it quotes.
_OVERFULL_LINE: Final = re.compile(rb"^([^\r\n]{74,})(=20|=09)(?=\r)", re.MULTILINE)
# What a display name may hold without quotes: RFC 5322's atext, and spaces.
_PHRASE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_ODD_SPACES: Final = re.compile(r"^ |  | $")
# RFC 2047, 5 (3): these may stand for themselves in an encoded word wherever it is.
_Q: Final = [
    chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "!*+-/") else f"={byte:02X}"
    for byte in range(256)
]
_Q[ord(" ")] = "_"
# Base64 makes four bytes of three; quoted-printable stays readable in a raw mail, so a little more is allowed to it.
_TOO_MANY_QUOTED: Final = 1.6


def build(mail: RenderedMail) -> bytes:
    """The mail with CRLF line ends. Pure ASCII unless the recipient's address is not."""
    lines = [
        _sender(mail.sender),
        f"To: {mail.recipient}",
        _text_header("Subject", mail.subject),
        f"Message-ID: {mail.message_id}",
        *(_folded(name, value) for name, value in mail.headers.items()),
        "MIME-Version: 1.0",
    ]
    head = "\r\n".join(lines).encode()
    text = _part("plain", mail.text)
    if mail.html is None:
        return head + b"\r\n" + text
    # A second attempt must not differ from the first. No quoted-printable line and no base64 has `=_` in it.
    boundary = b"=_" + hashlib.sha256(mail.key.encode()).hexdigest()[:32].encode()
    delimiter = b"--" + boundary
    return b"\r\n".join(
        (
            head,
            b'Content-Type: multipart/alternative; boundary="' + boundary + b'"',
            b"",
            # A part's last line end belongs to the delimiter behind it (RFC 2046, 5.1.1), which is why it has one more.
            delimiter,
            text,
            delimiter,
            _part("html", mail.html),
            delimiter + b"--",
            b"",
        )
    )


def _part(subtype: str, text: str) -> bytes:
    body = text.encode()
    # Nearly every text has plain line ends; a regular expression over all of it costs as much as the rest.
    body = _LINE_END.sub(b"\r\n", body) if b"\r" in body else body.replace(b"\n", b"\r\n")
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    coding, content = _encoded_body(body)
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: {coding}\r\n\r\n'.encode()
    return head + content


def _encoded_body(body: bytes) -> tuple[str, bytes]:
    quoted = binascii.b2a_qp(body)
    if len(quoted) > len(body) * _TOO_MANY_QUOTED:
        return "base64", base64.encodebytes(body).replace(b"\n", b"\r\n")
    if b" \r\n" in body or b"\t\r\n" in body:
        quoted = _OVERFULL_LINE.sub(rb"\1=\r\n\2", quoted)
    if quoted.startswith((b".", b"From ")) or b"\n." in quoted or b"\nFrom " in quoted:
        quoted = _LURING_LINE.sub(lambda line: _guarded(line[0]), quoted)
    return "quoted-printable", quoted


def _guarded(line: bytes) -> bytes:
    """The line with its first byte quoted, broken in two if that makes it too long."""
    line = b"=%02X" % line[0] + line[1:]
    if len(line) <= _LINE:
        return line
    cut = _LINE - 1
    # Not within `=XX`.
    while b"=" in line[cut - 2 : cut]:
        cut -= 1
    rest = line[cut:]
    return line[:cut] + b"=\r\n" + (_guarded(rest) if _LURING_LINE.match(rest) else rest)


def _sender(sender: Mailbox) -> str:
    if not sender.name:
        return f"From: {sender.address}"
    line = f"From: {_phrase(sender.name)}"
    address = f"<{sender.address}>"
    last_line = len(line) - line.rfind("\n")
    gap = " " if last_line + len(address) <= _HEADER_LINE else "\r\n "
    return f"{line}{gap}{address}"


def _phrase(name: str) -> str:
    phrase = name if _PHRASE.fullmatch(name) else f'"{quote(name)}"'
    # Not every reader unfolds what stands in quotes.
    if _as_it_is(name) and len("From: ") + len(phrase) <= _HEADER_LINE:
        return phrase
    return _encoded_words(name, used=len("From: "))


def _text_header(name: str, text: str) -> str:
    if _as_it_is(text):
        return _folded(name, text)
    return f"{name}: {_encoded_words(text, used=len(name) + 2)}"


def _as_it_is(text: str) -> bool:
    """Whether folding, unfolding and decoding give the text back."""
    return (
        text.isascii()
        and "=?" not in text
        and _ODD_SPACES.search(text) is None
        and (len(text) <= _LONGEST_WORD or max(map(len, text.split(" "))) <= _LONGEST_WORD)
    )


def _folded(name: str, value: str) -> str:
    """A header, broken at spaces only: a long link stays whole."""
    line = f"{name}: {value}"
    if len(line) <= _HEADER_LINE:
        return line
    first, *words = value.split(" ")
    lines = [f"{name}: {first}"]
    for word in words:
        if word and len(lines[-1]) + 1 + len(word) > _HEADER_LINE:
            lines.append(f" {word}")
        else:
            lines[-1] += f" {word}"
    return "\r\n".join(lines)


def _encoded_words(text: str, *, used: int) -> str:
    """Encoded words in UTF-8 that no line is too short for; `used` characters of the first line are taken."""
    raw = text.encode()
    quoted = [_Q[byte] for byte in raw]
    if sum(map(len, quoted)) * 3 <= len(raw) * 4:
        return "\r\n ".join(f"=?utf-8?q?{piece}?=" for piece in _in_q(text, used))
    return "\r\n ".join(f"=?utf-8?b?{piece}?=" for piece in _in_b(raw, used))


def _in_q(text: str, used: int) -> Iterator[str]:
    room = _room(used)
    piece = ""
    for character in text:
        quoted = "".join(_Q[byte] for byte in character.encode())
        if len(piece) + len(quoted) > room:
            yield piece
            piece, room = "", _room(1)
        piece += quoted
    yield piece


def _in_b(raw: bytes, used: int) -> Iterator[str]:
    start, room = 0, _room(used)
    while start < len(raw):
        end = start + room // 4 * 3
        # Not within a character.
        while end < len(raw) and raw[end] & 0xC0 == 0x80:
            end -= 1
        yield base64.b64encode(raw[start:end]).decode()
        start, room = end, _room(1)


def _room(used: int) -> int:
    """Characters for an encoded word's text. RFC 2047: 75 for each word, 76 for a line that has one."""
    return min(_ENCODED_WORD, _LINE - used) - _FRAME
