"""What receivers get wrong when they check a signature, found by trying each way of getting it wrong."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from mailement_common.signing import standard_key

_PREFIX: Final = "whsec_"
_DIGEST_BYTES: Final = 32


class Scheme(StrEnum):
    """The headers that carry a signature."""

    STANDARD = "webhook-signature"
    MAILEMENT = "X-Mailement-Signature"
    MAILY = "X-Maily-Signature"


class Mistake(StrEnum):
    LINE_BREAK_ADDED = "line_break_added"
    LINE_BREAK_LOST = "line_break_lost"
    CRLF = "crlf"
    REWRITTEN = "rewritten"
    ENCODED_TWICE = "encoded_twice"
    BYTE_ORDER_MARK = "byte_order_mark"
    SECRET_PREFIX_LOST = "secret_prefix_lost"  # noqa: S105
    SECRET_QUOTED = "secret_quoted"  # noqa: S105
    SECRET_NOT_DECODED = "secret_not_decoded"  # noqa: S105
    SECRET_DECODED = "secret_decoded"  # noqa: S105
    SECRET_WITHOUT_PREFIX = "secret_without_prefix"  # noqa: S105
    BODY_ALONE = "body_alone"
    ID_LEFT_OUT = "id_left_out"
    MORE_THAN_BODY = "more_than_body"
    OTHER_HEADER = "other_header"
    SPELLING = "spelling"


MISTAKES: Final[Mapping[Mistake, str]] = {
    Mistake.LINE_BREAK_ADDED: "the body has a line break at its end that was not sent, as editors and `echo` add one",
    Mistake.LINE_BREAK_LOST: "the body has lost the line break at its end",
    Mistake.CRLF: "the body's line breaks were converted, CRLF to LF or back",
    Mistake.REWRITTEN: "the body was parsed and written anew: the same JSON, other bytes; check the raw body",
    Mistake.ENCODED_TWICE: "the body was read as Latin-1 and written as UTF-8; check the raw bytes",
    Mistake.BYTE_ORDER_MARK: "the body has a byte order mark in front that was not sent",
    Mistake.SECRET_PREFIX_LOST: "the secret was given without its whsec_, which belongs to it",
    Mistake.SECRET_QUOTED: "the secret was given with spaces, a line break or quotes around it",
    Mistake.SECRET_NOT_DECODED: "the key was the secret as text; for this header it is what the base64 behind whsec_ stands for",
    Mistake.SECRET_DECODED: "the key was decoded from base64; for this header it is the secret as it was printed",
    Mistake.SECRET_WITHOUT_PREFIX: "the key was the secret without its whsec_; for this header it is the secret as it was printed",
    Mistake.BODY_ALONE: "the body alone was signed; for this header it is webhook-id, webhook-timestamp and body, with dots between",
    Mistake.ID_LEFT_OUT: "timestamp and body were signed; webhook-id comes before them",
    Mistake.MORE_THAN_BODY: "webhook-id and webhook-timestamp were signed too; for this header it is the body alone",
    Mistake.OTHER_HEADER: "it is the signature of another header of the same message",
    Mistake.SPELLING: (
        "it is not spelt as its header wants: `v1,` and base64 in webhook-signature, `sha256=` and hex in "
        "X-Mailement-Signature, bare hex in X-Maily-Signature; hex in small letters"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    scheme: Scheme
    value: str


_Mistakes = tuple[Mistake, ...]


def find_mistakes(
    signature: Signature, secret: str, headers: Mapping[str, str], body: bytes
) -> tuple[Mistake, ...]:
    """The fewest mistakes that explain a signature which does not fit; empty if none does.

    `headers`: names in lower case.
    """
    digest = _digest(signature.value)
    if digest is None:
        return ()
    if _is_of_another_header(signature.scheme, digest, secret, headers, body):
        return (Mistake.OTHER_HEADER,)
    spelling = () if spelt(signature.scheme, digest) == signature.value else (Mistake.SPELLING,)
    explanations = [
        (*of_key, *of_prefix, *of_body, *spelling)
        for key, of_key in _keys(signature.scheme, secret)
        for prefix, of_prefix in _prefixes(signature.scheme, headers)
        for variant, of_body in _bodies(body)
        if hmac.compare_digest(hmac.digest(key, prefix + variant, "sha256"), digest)
    ]
    return min(explanations, key=len, default=())


def standard_prefix(headers: Mapping[str, str]) -> bytes | None:
    """What stands before the body in what `webhook-signature` signs; None: one of its headers is missing."""
    sent_id, sent_at = headers.get("webhook-id"), headers.get("webhook-timestamp")
    return f"{sent_id}.{sent_at}.".encode() if sent_id and sent_at else None


def legacy_key(secret: str) -> bytes:
    """The key of the two headers that sign the body alone: the secret as it was printed."""
    return secret.encode()


def spelt(scheme: Scheme, digest: bytes) -> str:
    """A digest as its header writes it."""
    match scheme:
        case Scheme.STANDARD:
            return "v1," + base64.b64encode(digest).decode()
        case Scheme.MAILEMENT:
            return "sha256=" + digest.hex()
        case Scheme.MAILY:
            return digest.hex()
        case _:
            assert_never(scheme)


def _digest(value: str) -> bytes | None:
    """The 32 bytes that a value stands for, in whichever of the spellings."""
    bare = value.rpartition(",")[2].removeprefix("sha256=")
    for read in (bytes.fromhex, _from_base64):
        try:
            digest = read(bare)
        except ValueError:
            continue
        if len(digest) == _DIGEST_BYTES:
            return digest
    return None


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _is_of_another_header(
    scheme: Scheme, digest: bytes, secret: str, headers: Mapping[str, str], body: bytes
) -> bool:
    if scheme is Scheme.STANDARD:
        return hmac.compare_digest(hmac.digest(legacy_key(secret), body, "sha256"), digest)
    prefix, key = standard_prefix(headers), _decoded(secret)
    if prefix is None or key is None:
        return False
    return hmac.compare_digest(hmac.digest(key, prefix + body, "sha256"), digest)


def _keys(scheme: Scheme, secret: str) -> Iterator[tuple[bytes, _Mistakes]]:
    """Every key that a secret could be taken for, the right one first."""
    trimmed = secret.strip(" \t\r\n\"'")
    whole = _PREFIX + trimmed.removeprefix(_PREFIX)
    of_secret: list[Mistake] = [Mistake.SECRET_QUOTED] if trimmed != secret else []
    if trimmed != whole:
        yield from _ways_to_use(scheme, trimmed, tuple(of_secret))
        of_secret.append(Mistake.SECRET_PREFIX_LOST)
    yield from _ways_to_use(scheme, whole, tuple(of_secret))


def _ways_to_use(scheme: Scheme, secret: str, mistakes: _Mistakes) -> Iterator[tuple[bytes, _Mistakes]]:
    printed, bare, decoded = secret.encode(), secret.removeprefix(_PREFIX).encode(), _decoded(secret)
    if scheme is Scheme.STANDARD:
        if decoded is not None:
            yield decoded, mistakes
        yield printed, (*mistakes, Mistake.SECRET_NOT_DECODED)
        yield bare, (*mistakes, Mistake.SECRET_NOT_DECODED)
    else:
        yield printed, mistakes
        yield bare, (*mistakes, Mistake.SECRET_WITHOUT_PREFIX)
        if decoded is not None:
            yield decoded, (*mistakes, Mistake.SECRET_DECODED)


def _decoded(secret: str) -> bytes | None:
    try:
        return standard_key(secret)
    except ValueError:
        return None


def _prefixes(scheme: Scheme, headers: Mapping[str, str]) -> Iterator[tuple[bytes, _Mistakes]]:
    right = standard_prefix(headers)
    if scheme is Scheme.STANDARD:
        if right is not None:
            yield right, ()
            yield right.partition(b".")[2], (Mistake.ID_LEFT_OUT,)
        yield b"", (Mistake.BODY_ALONE,)
    else:
        yield b"", ()
        if right is not None:
            yield right, (Mistake.MORE_THAN_BODY,)


def _bodies(body: bytes) -> Iterator[tuple[bytes, _Mistakes]]:
    """The body as it came, and every body that it may have been before."""
    yield body, ()
    for line_break in (b"\r\n", b"\n"):
        if body.endswith(line_break):
            yield body.removesuffix(line_break), (Mistake.LINE_BREAK_ADDED,)
        yield body + line_break, (Mistake.LINE_BREAK_LOST,)
    in_lf = body.replace(b"\r\n", b"\n")
    yield in_lf, (Mistake.CRLF,)
    yield in_lf.replace(b"\n", b"\r\n"), (Mistake.CRLF,)
    yield body.removeprefix(b"\xef\xbb\xbf"), (Mistake.BYTE_ORDER_MARK,)
    if (read_wrongly := _before_latin_1(body)) is not None:
        yield read_wrongly, (Mistake.ENCODED_TWICE,)
    for rewritten in _rewritten(body):
        yield rewritten, (Mistake.REWRITTEN,)


def _before_latin_1(body: bytes) -> bytes | None:
    """The body that becomes this one if it is read as Latin-1 and written as UTF-8; None: none does."""
    try:
        return body.decode().encode("latin-1")
    except UnicodeError:
        return None


def _rewritten(body: bytes) -> Iterator[bytes]:
    """The same JSON as the usual writers would write it."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return
    for keys_sorted in (False, True):
        for ascii_only in (False, True):
            for separators, indent in (
                ((",", ":"), None),
                ((", ", ": "), None),
                ((",", ": "), 2),
                ((",", ": "), 4),
            ):
                yield json.dumps(
                    content,
                    ensure_ascii=ascii_only,
                    sort_keys=keys_sorted,
                    separators=separators,
                    indent=indent,
                ).encode(errors="replace")
