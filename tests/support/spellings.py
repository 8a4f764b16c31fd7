"""Addresses that must not be reached, and the ways to write them that some resolver or host understands."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from hypothesis import strategies as st

DENIED_V4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]


def _within(network: IPv4Network) -> st.SearchStrategy[IPv4Address]:
    first, last = int(network.network_address), int(network.broadcast_address)
    return st.integers(min_value=first, max_value=last).map(IPv4Address)


def _without(denied: IPv4Network, networks: list[IPv4Network]) -> list[IPv4Network]:
    return [
        part
        for network in networks
        for part in (network.address_exclude(denied) if denied.subnet_of(network) else [network])
    ]


# Built, not filtered: what a filter throws away is at times so much that Hypothesis gives up.
PUBLIC_V4 = reduce(lambda networks, denied: _without(denied, networks), DENIED_V4, [IPv4Network("0.0.0.0/0")])

denied_v4 = st.sampled_from(DENIED_V4).flatmap(_within)
public_v4 = st.sampled_from(PUBLIC_V4).flatmap(_within)


def _embed(prefix: str, shift: int = 0, *, inverted: bool = False) -> Callable[[IPv4Address], IPv6Address]:
    """An IPv6 address that carries an IPv4 address, `shift` bits from its end."""

    def embed(address: IPv4Address) -> IPv6Address:
        carried = int(address) ^ (0xFFFFFFFF if inverted else 0)
        return IPv6Address(int(IPv6Address(prefix)) | carried << shift)

    return embed


EMBEDDINGS = {
    "mapped": _embed("::ffff:0:0"),
    "compatible": _embed("::"),
    "translated": _embed("::ffff:0:0:0"),
    "nat64": _embed("64:ff9b::"),
    "local nat64": _embed("64:ff9b:1::"),
    "6to4": _embed("2002::", 80),
    "teredo client": _embed("2001::", inverted=True),
    "teredo server": _embed("2001::", 64),
    "isatap": _embed("fe80::5efe:0:0"),
    "isatap in a public network": _embed("2606:4700::5efe:0:0"),
    "isatap of a public address": _embed("2606:4700::200:5efe:0:0"),
}


METADATA = [
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "192.0.0.192",
]


def _number(value: int) -> st.SearchStrategy[str]:
    zeros = st.integers(min_value=0, max_value=4).map(lambda count: "0" * count)
    return st.one_of(
        st.just(str(value)),
        zeros.map(lambda more: f"0{more}{value:o}"),
        zeros.map(lambda more: f"0x{more}{value:x}"),
        st.just(f"0X{value:X}"),
    )


def spelled(address: IPv4Address) -> st.SearchStrategy[str]:
    """Whole, or in two, three or four parts, each decimal, octal or hexadecimal."""

    def parts(count: int) -> st.SearchStrategy[str]:
        octets = address.packed
        rest = int.from_bytes(octets[count - 1 :])
        return st.tuples(*(_number(value) for value in (*octets[: count - 1], rest))).map(".".join)

    return st.integers(min_value=1, max_value=4).flatmap(parts)


_WIDE_DIGITS = str.maketrans("0123456789", "０１２３４５６７８９")
_RINGED_DIGITS = str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")
DISGUISES: tuple[Callable[[str], str], ...] = (
    lambda host: host,
    lambda host: host + ".",
    lambda host: host.translate(_WIDE_DIGITS),
    lambda host: host.translate(_RINGED_DIGITS),
    lambda host: host.replace(".", "。"),
    lambda host: host.replace(".", "．"),
    lambda host: host.replace(".", "｡"),
    lambda host: host[0] + "\u00ad" + host[1:],
    lambda host: host[0] + "\u200b" + host[1:],
)


denied_addresses = st.one_of(denied_v4, st.sampled_from(METADATA).map(IPv4Address))


def hosts(addresses: st.SearchStrategy[IPv4Address]) -> st.SearchStrategy[str]:
    """As the host of a URL: digits in any base and dress, or in brackets and inside an IPv6 address."""
    plain = st.tuples(addresses.flatmap(spelled), st.sampled_from(DISGUISES)).map(
        lambda pair: pair[1](pair[0])
    )
    carried = st.tuples(addresses, st.sampled_from(sorted(EMBEDDINGS)), st.booleans()).map(
        lambda choice: _in_brackets(EMBEDDINGS[choice[1]](choice[0]), exploded=choice[2])
    )
    return st.one_of(plain, carried)


def _in_brackets(address: IPv6Address, *, exploded: bool) -> str:
    return f"[{address.exploded if exploded else address}]"


denied_hosts = hosts(denied_addresses)
loopback_hosts = st.one_of(
    hosts(_within(IPv4Network("127.0.0.0/8"))),
    hosts(st.sampled_from([IPv4Address("127.0.0.1"), IPv4Address("0.0.0.0")])),
    st.sampled_from(
        ["[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "user@127.0.0.1", "1.1.1.1@127.0.0.1", "[::1%25lo]"]
    ),
)
