"""Identifiers that more than one room speaks of."""

from __future__ import annotations

import hashlib
import random
import re
from typing import Final, NewType
from uuid import UUID

EventId = NewType("EventId", UUID)
BrandId = NewType("BrandId", int)
AccountId = NewType("AccountId", int)
SubscriberId = NewType("SubscriberId", int)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def event_id(kind: str, row_id: int, version: int) -> EventId:
    """The id of the event that version `version` of a row caused; the same for ever.

    UUIDv8 (RFC 9562, section 5.8) of SHA-256 over "kind:id:version". The SQL function `event_id` agrees.
    """
    digest = bytearray(hashlib.sha256(f"{kind}:{row_id}:{version}".encode()).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return EventId(UUID(bytes=bytes(digest)))


def request_id(offered: str | None) -> str:
    """The caller's X-Request-ID if it is harmless (`[A-Za-z0-9._-]`, at most 128), else a new one."""
    if offered is not None and _REQUEST_ID.fullmatch(offered):
        return offered
    return f"{random.getrandbits(96):024x}"


def traceparent(offered: str | None) -> str:
    """The caller's W3C `traceparent` if it is well formed, else the start of a new trace."""
    if offered is not None and _TRACEPARENT.fullmatch(offered):
        return offered
    return f"00-{random.getrandbits(127) + 1:032x}-{random.getrandbits(63) + 1:016x}-01"


def trace_id(parent: str) -> str:
    """The 32 hex digits of a `traceparent` that name the trace."""
    return parent[3:35]
