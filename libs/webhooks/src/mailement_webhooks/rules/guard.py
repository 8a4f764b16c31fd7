"""Where webhooks may go: to public addresses, and to networks that the operator allows.

The gate stands at the socket, where the address is known that is really dialled. `refuse_url` judges a URL when
it is set, by what can be said without asking anybody, so that a mistake shows at once and not at the first event.
`ipaddress.is_global` is not used: it calls several addresses global that lead back into a private network.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

import idna

from mailement_webhooks.errors import UrlRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LONGEST_URL: Final = 2048
_DENIED: Final[Sequence[tuple[Network, str]]] = tuple(
    (ip_network(network), purpose)
    for network, purpose in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's platform"),
        ("169.254.0.0/16", "link-local, cloud metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relays"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarks"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("2001::/23", "protocol assignments, Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
    )
)
# Nothing outside it is a public host: loopback, unique local, link-local, multicast and IPv4 in old clothes.
_PUBLIC_V6: Final = IPv6Network("2000::/3")
# A NAT64 gateway sends these on to the IPv4 address in their last 32 bits (RFC 6052).
_NAT64: Final = IPv6Network("64:ff9b::/96")
# The middle of an interface identifier that is made of an IPv4 address (RFC 5214).
_ISATAP: Final = {0x00005EFE, 0x02005EFE}
_LOOPBACK: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

_FORBIDDEN_CHARACTERS: Final = re.compile(r"[\x00-\x20\x7f\\]")
_HALF_A_PAIR: Final = re.compile(r"[\ud800-\udfff]")
# Folding makes spaces, quotes and more of what was none; underscores stand in the names of real hosts.
_NAME: Final = re.compile(r"[a-z0-9._-]+")
# The dots that a resolver takes for dots (RFC 3490).
_DOTS: Final = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))
_NUMBER: Final = re.compile(r"0x(?P<hex>[0-9a-f]*)|0(?P<octal>[0-7]*)|(?P<decimal>[1-9][0-9]*)", re.ASCII)
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a URL asks to reach. `address`: where the host is an address, in any spelling. `port` None: the scheme's."""

    scheme: str
    host: str
    port: int | None
    address: Address | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """`allow`: networks that may be reached although they are not public."""

    allow: tuple[Network, ...] = ()

    def refusal(self, address: Address) -> str | None:
        """Why this address may not be dialled, in words; None if it may."""
        for end in _ends(address):
            reason = _why_not_public(end)
            if reason is not None and not any(end in network for network in self.allow):
                return reason
        return None

    def refuse_url(self, url: str) -> None:
        """Judges what can be judged without resolving a name. Raises UrlRefused."""
        destination = destination_of(url)
        host, address = destination.host, destination.address
        if host == "localhost" or host.endswith(".localhost"):
            if all(self.refusal(loopback) is not None for loopback in _LOOPBACK):
                raise UrlRefused(f"{host} is not a public address (loopback)")
        elif address is not None:
            if (reason := self.refusal(address)) is not None:
                raise UrlRefused(reason)
            if isinstance(address, IPv4Address) and host != str(address):
                raise UrlRefused(f"{host} is an unusual way to write {address}")


def destination_of(url: str) -> Destination:
    """The one way to read a URL, where it is set and where it is dialled. Raises UrlRefused."""
    parts = _split(url)
    host = _host(parts)
    return Destination(scheme=parts.scheme, host=host, port=parts.port, address=_literal(host))


def parse_networks(text: str) -> tuple[Network, ...]:
    """`127.0.0.0/8,fd00::/8`; a bare address is a network of one. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def _ends(address: Address) -> tuple[Address, ...]:
    """Where a packet to it can end: IPv4 in IPv6 counts where a host or a gateway really unwraps it."""
    if isinstance(address, IPv6Address):
        carried = IPv4Address(int(address) & 0xFFFFFFFF)
        if address.ipv4_mapped is not None or address in _NAT64:
            return (carried,)
        if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
            return (address, carried)
    return (address,)


# Asked for every connection that is dialled or taken up again.
@lru_cache(maxsize=4096)
def _why_not_public(address: Address) -> str | None:
    for network, purpose in _DENIED:
        if address in network:
            return f"{address} is not a public address ({purpose}: {network})"
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return f"{address} is not a public address (outside {_PUBLIC_V6})"
    return None


def _split(url: str) -> SplitResult:
    if len(url) > _LONGEST_URL:
        raise UrlRefused(f"the URL has more than {_LONGEST_URL} characters")
    if _FORBIDDEN_CHARACTERS.search(url):
        raise UrlRefused("the URL has spaces, backslashes or control characters in it")
    if _HALF_A_PAIR.search(url):
        raise UrlRefused("the URL is no text that can be encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # Its own words may quote a password.
        raise UrlRefused("the URL cannot be read: its host or its port is malformed") from error
    if parts.scheme not in {"http", "https"}:
        raise UrlRefused("the URL does not start with http:// or https://")
    if "@" in parts.netloc:
        raise UrlRefused("the URL carries a user name or a password")
    if port == 0:
        raise UrlRefused("port 0 cannot be dialled")
    return parts


def _host(parts: SplitResult) -> str:
    """The host as a resolver would understand it: in ASCII, compatible characters folded, no dot at the end."""
    if not parts.hostname:
        raise UrlRefused("the URL names no host")
    if "%" in parts.hostname:
        raise UrlRefused("the host has a % in it")
    host = unicodedata.normalize("NFKC", parts.hostname).translate(_DOTS).lower()
    host = "".join(character for character in host if not _ignored(character)).removesuffix(".")
    if not host or any(not label or len(label) > 63 for label in host.split(".")) or len(host) > 253:
        raise UrlRefused("the host is not a name that can exist")
    host = host if host.isascii() else _in_ascii(host)
    if ":" not in host and not _NAME.fullmatch(host):
        raise UrlRefused("the host is not a name that can exist")
    return host


def _in_ascii(host: str) -> str:
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise UrlRefused("the host is not a name that can exist") from error


def _ignored(character: str) -> bool:
    """Invisible characters vanish when a name is prepared for the resolver (RFC 3454, table B.1)."""
    return unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f"


def _literal(host: str) -> Address | None:
    """The address that a host spells, as the C library reads it: `127.1`, `0x7f000001`, `0177.0.0.1`, …"""
    if ":" in host:
        try:
            return ip_address(host)
        except ValueError as error:
            raise UrlRefused(f"{host} is not an IPv6 address") from error
    parts = host.split(".")
    if not _NUMERIC.fullmatch(parts[-1]):
        return None
    numbers = [_number(part) for part in parts]
    *leading, last = [number for number in numbers if number is not None]
    if None in numbers or len(parts) > 4 or max(leading, default=0) > 255 or last >= 256 ** (5 - len(parts)):
        raise UrlRefused(f"{host} is neither a name nor an address")
    return IPv4Address(sum(number << (24 - 8 * place) for place, number in enumerate(leading)) + last)


def _number(part: str) -> int | None:
    match = _NUMBER.fullmatch(part)
    if match is None:
        return None
    if match["decimal"] is not None:
        return int(match["decimal"])
    return int(match["hex"] or "0", 16) if match["hex"] is not None else int(match["octal"] or "0", 8)
