"""DKIM signatures (RFC 6376, RFC 8463), relaxed in headers and body. The same mail gives the same signature."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, assert_never

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

_RSA_BITS: Final = 2048
# RFC 8301: verifiers take nothing shorter.
_SHORTEST_RSA_BITS: Final = 1024
_RSA_EXPONENT: Final = 65537

_SIGNED: Final = (
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Reply-To",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
)
# Named once more than they occur, so that nobody can add a second one that readers would show.
_OVERSIGNED: Final = ("From", "To", "Subject", "Date", "Reply-To")

_LABELS: Final = re.compile(r"(?!-)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_FOLD: Final = re.compile(rb"\r\n(?=[ \t])")
_SPACES: Final = re.compile(rb"[ \t]+")
_LINE: Final = 72


class BadDkimKey(ValueError):
    """A key that no mail can be signed with. The text says why, without the key."""


class DkimAlgorithm(StrEnum):
    RSA_SHA256 = "rsa-sha256"
    ED25519_SHA256 = "ed25519-sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKey:
    """`domain` and `selector` are ASCII: an international domain is written as its A-label. Raises BadDkimKey."""

    domain: str
    selector: str
    algorithm: DkimAlgorithm
    private_key: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        if not _LABELS.fullmatch(self.domain) or not _LABELS.fullmatch(self.selector):
            raise BadDkimKey("domain or selector cannot stand in the DNS")
        if self.algorithm is not _algorithm_of(self.private_key):
            raise BadDkimKey("the key is not one for this algorithm")
        if isinstance(self.private_key, RSAPrivateKey) and self.private_key.key_size < _SHORTEST_RSA_BITS:
            raise BadDkimKey(f"an RSA key has at least {_SHORTEST_RSA_BITS} bits")


def new_key(*, domain: str, selector: str, algorithm: DkimAlgorithm = DkimAlgorithm.RSA_SHA256) -> DkimKey:
    """A fresh key; an RSA one has 2048 bits and takes a tenth of a second. Raises BadDkimKey."""
    match algorithm:
        case DkimAlgorithm.RSA_SHA256:
            private: RSAPrivateKey | Ed25519PrivateKey = generate_private_key(_RSA_EXPONENT, _RSA_BITS)
        case DkimAlgorithm.ED25519_SHA256:
            private = Ed25519PrivateKey.generate()
        case _:
            assert_never(algorithm)
    return DkimKey(domain=domain, selector=selector, algorithm=algorithm, private_key=private)


def to_pem(key: DkimKey) -> bytes:
    """The private key as PKCS #8, to be sealed and stored."""
    return key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def from_pem(pem: bytes, *, domain: str, selector: str) -> DkimKey:
    """Raises BadDkimKey."""
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise BadDkimKey("this is no private key in PEM without a password") from fault
    if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
        raise BadDkimKey("a DKIM key is an RSA or an Ed25519 key")
    return DkimKey(domain=domain, selector=selector, algorithm=_algorithm_of(private), private_key=private)


def record_name(key: DkimKey) -> str:
    """Where verifiers look for the record."""
    return f"{key.selector}._domainkey.{key.domain}"


def record_value(key: DkimKey) -> str:
    """The value of the TXT record. One of more than 255 characters goes into the DNS as several strings."""
    public = key.private_key.public_key()
    match key.algorithm:
        case DkimAlgorithm.RSA_SHA256:
            kind, raw = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        case DkimAlgorithm.ED25519_SHA256:
            kind, raw = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        case _:
            assert_never(key.algorithm)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(raw).decode()}"


def signature(content: bytes, key: DkimKey) -> bytes:
    """The DKIM-Signature header, with its line end, that is put before `content`: a mail with CRLF line ends."""
    head, _, body = content.partition(b"\r\n\r\n")
    headers = _headers(head)
    names = [name for name in _SIGNED for _ in headers.get(name.lower(), ())] + list(_OVERSIGNED)
    unsigned = (
        f"v=1; a={key.algorithm}; c=relaxed/relaxed;\r\n"
        f"\td={key.domain}; s={key.selector};\r\n"
        f"\th={_in_lines(names)};\r\n"
        f"\tbh={base64.b64encode(_body_hash(body)).decode()};\r\n"
        f"\tb="
    )
    # A name that comes again means the next of these headers from below, and nothing when there is none left.
    covered = [line for name in _SIGNED for line in reversed(headers.get(name.lower(), []))]
    own = _relaxed_header(b"DKIM-Signature", unsigned.encode())
    proof = base64.b64encode(_sign(key, b"\r\n".join([*covered, own]))).decode()
    return f"DKIM-Signature: {unsigned}{_wrapped(proof)}\r\n".encode()


def _sign(key: DkimKey, data: bytes) -> bytes:
    match key.private_key:
        case RSAPrivateKey() as rsa:
            return rsa.sign(data, PKCS1v15(), hashes.SHA256())
        case Ed25519PrivateKey() as ed25519:
            # RFC 8463: what is signed is the hash.
            return ed25519.sign(hashlib.sha256(data).digest())
        case _:
            assert_never(key.private_key)


def _headers(head: bytes) -> dict[str, list[bytes]]:
    """Canonical headers by their names in lower case, in the order of the mail."""
    found: dict[str, list[bytes]] = {}
    for line in _FOLD.sub(b"", head).split(b"\r\n"):
        name, _, value = line.partition(b":")
        found.setdefault(name.decode("ascii").strip().lower(), []).append(_relaxed_header(name, value))
    return found


def _relaxed_header(name: bytes, value: bytes) -> bytes:
    """RFC 6376, 3.4.2."""
    return name.strip().lower() + b":" + _SPACES.sub(b" ", _FOLD.sub(b"", value)).strip(b" ")


def _body_hash(body: bytes) -> bytes:
    """Of the relaxed body (RFC 6376, 3.4.4)."""
    body = body.replace(b"\t", b" ")
    # A regular expression takes ten times as long; each round halves what is left.
    while b"  " in body:
        body = body.replace(b"  ", b" ")
    body = body.replace(b" \r\n", b"\r\n").rstrip(b"\r\n").removesuffix(b" ")
    return hashlib.sha256(body + b"\r\n" if body else b"").digest()


def _in_lines(names: list[str]) -> str:
    """RFC 6376, 3.5: `h=` may be broken around its colons."""
    lines = [""]
    for number, name in enumerate(names):
        item = name if number == 0 else f":{name}"
        if len(lines[-1]) + len(item) > _LINE:
            lines.append("")
        lines[-1] += item
    return "\r\n\t".join(lines)


def _wrapped(text: str) -> str:
    return "\r\n\t".join(text[start : start + _LINE] for start in range(0, len(text), _LINE))


def _algorithm_of(private: RSAPrivateKey | Ed25519PrivateKey) -> DkimAlgorithm:
    match private:
        case RSAPrivateKey():
            return DkimAlgorithm.RSA_SHA256
        case Ed25519PrivateKey():
            return DkimAlgorithm.ED25519_SHA256
        case _:
            assert_never(private)
