"""Signatures that receivers of webhooks check."""

from __future__ import annotations

import base64
import hashlib
import hmac


def mailement_signature(secret: str, body: bytes) -> str:
    """`sha256=<hex hmac>` over the raw body (Mailement document, section 9)."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard_signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64 hmac>` over `id.timestamp.body` (Standard Webhooks 1.0.0).

    A secret that starts with `whsec_` is base64 behind the prefix; any other is taken as its bytes.
    """
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
