"""Where webhooks may go, in every way to write it."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_webhooks.errors import UrlRefused
from mailement_webhooks.rules.guard import Guard, destination_of, parse_networks
from tests.support.spellings import (
    DISGUISES,
    EMBEDDINGS,
    METADATA,
    denied_hosts,
    denied_v4,
    public_v4,
    spelled,
)

CLOSED = Guard()
LOOPBACK_ALLOWED = Guard(allow=parse_networks("127.0.0.0/8,::1"))

_PUBLIC_V6 = IPv6Network("2000::/3")


@given(denied_v4, st.sampled_from(sorted(EMBEDDINGS)))
def test_a_denied_address_is_denied_in_every_ipv6_clothing(address: IPv4Address, clothing: str) -> None:
    assert CLOSED.refusal(EMBEDDINGS[clothing](address)) is not None


@given(public_v4)
def test_public_addresses_are_reached_also_through_nat64_and_as_mapped_ones(address: IPv4Address) -> None:
    assert CLOSED.refusal(address) is None
    assert CLOSED.refusal(EMBEDDINGS["mapped"](address)) is None
    assert CLOSED.refusal(EMBEDDINGS["nat64"](address)) is None


@given(st.integers(min_value=0, max_value=2**128 - 1).map(IPv6Address).filter(lambda a: a not in _PUBLIC_V6))
def test_outside_the_public_ipv6_space_only_public_ipv4_is_reached(address: IPv6Address) -> None:
    carries_v4 = address.ipv4_mapped is not None or address in IPv6Network("64:ff9b::/96")

    assert carries_v4 or CLOSED.refusal(address) is not None


@pytest.mark.parametrize(
    "address",
    [
        "::",
        "::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
        "2001:db8::1",
        "2001:2::1",
        "2001:20::1",
        "3fff::1",
        "5f00::1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "255.255.255.255",
    ],
)
def test_special_addresses_are_denied(address: str) -> None:
    assert CLOSED.refusal(ip_address(address)) is not None


@pytest.mark.parametrize("address", ["2606:4700:4700::1111", "2a00:1450:4001::1", "1.1.1.1", "172.32.0.1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert CLOSED.refusal(ip_address(address)) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
def test_an_allowed_network_is_reached(address: str) -> None:
    assert LOOPBACK_ALLOWED.refusal(ip_address(address)) is None


@pytest.mark.parametrize("address", ["10.0.0.1", "::7f00:1", "2002:7f00:1::", "169.254.169.254"])
def test_an_allowed_network_opens_no_other(address: str) -> None:
    assert LOOPBACK_ALLOWED.refusal(ip_address(address)) is not None


def test_a_refusal_says_which_address_and_why() -> None:
    assert CLOSED.refusal(ip_address("::ffff:10.1.2.3")) == (
        "10.1.2.3 is not a public address (private: 10.0.0.0/8)"
    )


# Spellings: what a resolver makes an address of, so must we.


@given(denied_v4.flatmap(spelled), st.sampled_from(DISGUISES), st.sampled_from(["http", "https", "HTTP"]))
def test_a_url_to_a_denied_address_is_refused_in_every_spelling(
    host: str, disguise: Callable[[str], str], scheme: str
) -> None:
    with pytest.raises(UrlRefused):
        CLOSED.refuse_url(f"{scheme}://{disguise(host)}:8080/hook")


@given(denied_v4, st.sampled_from(sorted(EMBEDDINGS)), st.booleans())
def test_a_url_to_a_denied_address_in_brackets_is_refused(
    address: IPv4Address, clothing: str, exploded: bool
) -> None:
    carrier = EMBEDDINGS[clothing](address)
    with pytest.raises(UrlRefused):
        CLOSED.refuse_url(f"http://[{carrier.exploded if exploded else carrier}]/hook")


@given(denied_hosts)
def test_a_url_to_a_denied_host_is_refused_or_its_address_is(host: str) -> None:
    """Where it is set and where it is dialled, with the same words."""
    with pytest.raises(UrlRefused) as refused:
        CLOSED.refuse_url(f"http://{host}/hook")
    with contextlib.suppress(UrlRefused):
        address = destination_of(f"http://{host}/hook").address
        assert address is not None
        assert CLOSED.refusal(address) == refused.value.reason


@pytest.mark.parametrize(
    "address", [*METADATA, "[fd00:ec2::254]", "[fd20:ce::254]", "[::ffff:169.254.169.254]"]
)
def test_the_metadata_of_a_cloud_is_refused(address: str) -> None:
    with pytest.raises(UrlRefused):
        CLOSED.refuse_url(f"http://{address}/latest/meta-data/")


@given(public_v4)
def test_an_isatap_address_is_judged_by_both_its_halves(address: IPv4Address) -> None:
    assert CLOSED.refusal(IPv6Address(int(IPv6Address("2606:4700::5efe:0:0")) | int(address))) is None
    assert CLOSED.refusal(IPv6Address(int(IPv6Address("fe80::5efe:0:0")) | int(address))) is not None


@given(public_v4)
def test_a_url_to_a_public_address_is_accepted(address: IPv4Address) -> None:
    CLOSED.refuse_url(f"https://{address}/hook")


@given(public_v4.flatmap(lambda address: spelled(address).filter(lambda host: host != str(address))))
def test_a_public_address_in_an_unusual_spelling_is_refused(host: str) -> None:
    """The HTTP client would not dial it."""
    with pytest.raises(UrlRefused, match="unusual way to write"):
        CLOSED.refuse_url(f"https://{host}/hook")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "ｌｏｃａｌｈｏｓｔ", "a.localhost", "loc\u00adalhost"]
)
def test_localhost_is_refused_unless_loopback_is_allowed(host: str) -> None:
    with pytest.raises(UrlRefused):
        CLOSED.refuse_url(f"http://{host}/hook")
    LOOPBACK_ALLOWED.refuse_url(f"http://{host}/hook")


@pytest.mark.parametrize(
    "url",
    [
        "https://receiver.example",
        "https://receiver.example/hook?token=a%2Fb#top",
        "http://receiver.example:8080/hook",
        "https://receiver.example:65535/",
        "https://bücher.example/hook",
        "https://intranet/hook",
        "https://0x7f.example/",
        "https://[2606:4700:4700::1111]:8443/hook",
        "https://receiver.example/" + "a" * 2023,
    ],
)
def test_ordinary_urls_are_accepted(url: str) -> None:
    CLOSED.refuse_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "http"),
        ("receiver.example/hook", "http"),
        ("ftp://receiver.example/", "http"),
        ("file:///etc/passwd", "http"),
        ("javascript:alert(1)", "http"),
        ("https://", "no host"),
        ("https:///hook", "no host"),
        ("https://:8080/", "no host"),
        ("https://user@receiver.example/", "user name"),
        ("https://user:secret@receiver.example/", "user name"),
        ("https://receiver.example@127.0.0.1/", "user name"),
        ("https://receiver.example:0/", "port 0"),
        ("https://receiver.example:65536/", "cannot be read"),
        ("https://receiver.example:http/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("https://[fe80::1%25eth0]/", "%"),
        ("https://%31%32%37.0.0.1/", "%"),
        ("https://receiver.example/a b", "spaces"),
        ("https://receiver.example/\r\nX-Header: 1", "spaces"),
        ("\thttps://receiver.example/", "spaces"),
        ("https://receiver.example\\@127.0.0.1/", "backslashes"),
        ("https://\u2603.example\u2603/", "can exist"),
        ("https://a..example/", "can exist"),
        ("https://./", "can exist"),
        ("https://" + "a" * 64 + ".example/", "can exist"),
        ("https://receiver\u00a0x.example/", "can exist"),
        ("https://127.0.0.1\u2003x/", "can exist"),
        ("https://receiver\uff05.example/", "can exist"),
        ('https://receiver".example/', "can exist"),
        ("https://receiver<b>.example/", "can exist"),
        ("https://receiver,other.example/", "can exist"),
        ("https://receiver.example/\ud800", "no text"),
        ("https://256.1.1.1/", "neither a name nor an address"),
        ("https://1.2.3.4.5/", "neither a name nor an address"),
        ("https://08.8.8.8/", "neither a name nor an address"),
        ("https://4294967296/", "neither a name nor an address"),
        ("https://receiver.example/" + "a" * 2024, "2048"),
    ],
)
def test_a_refused_url_comes_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(UrlRefused, match=reason):
        CLOSED.refuse_url(url)


@pytest.mark.parametrize(
    "url", ["https://user:secret@a\u2100b.example/", "https://user:secret@[::1/", "https://a.example:secret/"]
)
def test_a_refusal_quotes_no_secret(url: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        CLOSED.refuse_url(url)

    assert "secret" not in refused.value.reason


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Bücher.example", "xn--bcher-kva.example"),
        ("ＡＢＣ.example.", "abc.example"),
        ("a_b.example", "a_b.example"),
    ],
)
def test_a_name_is_read_as_a_resolver_would_read_it(host: str, name: str) -> None:
    assert destination_of(f"https://{host}/").host == name


@given(st.text(alphabet="0123456789abcdefxX.", min_size=1, max_size=24))
def test_what_the_c_library_takes_for_an_address_is_judged_as_that_address(host: str) -> None:
    try:
        address = IPv4Address(socket.inet_aton(host))
    except OSError:
        return
    if CLOSED.refusal(address) is not None:
        with pytest.raises(UrlRefused):
            CLOSED.refuse_url(f"http://{host}/")


@given(st.text(max_size=20))
def test_a_host_that_is_accepted_can_stand_in_a_header(host: str) -> None:
    with contextlib.suppress(UrlRefused):
        assert re.fullmatch(r"[a-z0-9._:-]+", destination_of(f"http://{host}/").host)


@given(st.text(max_size=80))
def test_no_text_does_anything_but_pass_or_be_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://[{text}]/"):
        with contextlib.suppress(UrlRefused):
            CLOSED.refuse_url(url)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "nowhere", "10.0.0.0-10.0.0.9"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_networks(text)
