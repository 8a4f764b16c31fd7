"""Signatures that receivers of webhooks check."""

from __future__ import annotations

import base64
import hmac
from binascii import b2a_base64
from hashlib import sha256
from typing import Final

_STANDARD_PREFIX: Final = "whsec_"


class Signer:
    """Signs under one secret. What depends on the secret alone is computed once, here.

    Raises ValueError if the secret starts with `whsec_` and no base64 follows.
    """

    __slots__ = ("_printed", "_standard")

    def __init__(self, secret: str) -> None:
        self._printed = hmac.new(secret.encode(), digestmod=sha256)
        self._standard = hmac.new(standard_key(secret), digestmod=sha256)

    def hexadecimal(self, body: bytes) -> str:
        """64 hex digits over the raw body; the key is the secret as it was printed, prefix and all."""
        mac = self._printed.copy()
        mac.update(body)
        return mac.hexdigest()

    def standard(self, message_id: str, timestamp: int, body: bytes) -> str:
        """`v1,<base64>` over `id.timestamp.body` (Standard Webhooks 1.0.0). `timestamp`: Unix seconds."""
        mac = self._standard.copy()
        mac.update(f"{message_id}.{timestamp}.".encode())
        mac.update(body)
        return "v1," + b2a_base64(mac.digest(), newline=False).decode()


def standard_key(secret: str) -> bytes:
    """A secret that starts with `whsec_` is base64 behind the prefix; any other is taken as its bytes.

    Raises ValueError if that base64 cannot be read.
    """
    if not secret.startswith(_STANDARD_PREFIX):
        return secret.encode()
    return base64.b64decode(secret.removeprefix(_STANDARD_PREFIX))


def mailement_signature(secret: str, body: bytes) -> str:
    """`sha256=<hex hmac>` over the raw body (Mailement document, section 9)."""
    return "sha256=" + maily_signature(secret, body)


def maily_signature(secret: str, body: bytes) -> str:
    """The bare hex of the same (Maily document, Webhooks)."""
    return hmac.new(secret.encode(), body, sha256).hexdigest()


def standard_signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """What `Signer.standard` makes, for one secret and one time. Raises ValueError like it."""
    return Signer(secret).standard(message_id, timestamp, body)
