"""Where a URL leads and what the request says of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from mailement_webhooks.rules.guard import Address, destination_of

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))


class Origin(NamedTuple):
    """Requests to one origin may share a connection. A tuple, because it is hashed for every one of them."""

    secure: bool
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`address`: where the host is written as one. `authority`: for `Host`. `path`: with the query, as typed."""

    origin: Origin
    address: Address | None
    authority: str
    path: str


@lru_cache(maxsize=4096)
def target_of(url: str) -> Target:
    """Reads the host as the guard reads it. Percent escapes stay as they are: a URL may carry a signature of its own.

    Raises UrlRefused.
    """
    destination = destination_of(url)
    default_port = _DEFAULT_PORTS[destination.scheme]
    port = destination.port or default_port
    host = destination.host
    authority = f"[{host}]" if isinstance(destination.address, IPv6Address) else host
    parts = urlsplit(url)
    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    return Target(
        origin=Origin(secure=destination.scheme == "https", host=host, port=port),
        address=destination.address,
        authority=authority if port == default_port else f"{authority}:{port}",
        path=quote(path, safe=_ASCII),
    )
