"""What a URL becomes: where to dial, and what the request says."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from mailement_webhook_dispatcher.http.target import Origin, target_of
from mailement_webhooks.errors import UrlRefused


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://receiver.example", "/"),
        ("https://receiver.example?x=1", "/?x=1"),
        ("https://receiver.example/hook#part", "/hook"),
        ("https://receiver.example/a%2Fb/%7e?sig=a%2Bb+c&t=%ff", "/a%2Fb/%7e?sig=a%2Bb+c&t=%ff"),
        ("https://receiver.example/{x}|'\"<>^`?[]", "/{x}|'\"<>^`?[]"),
        ("https://receiver.example/ü?ß", "/%C3%BC?%C3%9F"),
        ("https://receiver.example//two//", "//two//"),
    ],
)
def test_path_and_query_are_sent_as_typed(url: str, path: str) -> None:
    assert target_of(url).path == path


@pytest.mark.parametrize(
    ("url", "authority", "origin"),
    [
        ("https://Receiver.EXAMPLE/", "receiver.example", Origin(True, "receiver.example", 443)),
        ("https://receiver.example:443/", "receiver.example", Origin(True, "receiver.example", 443)),
        ("http://receiver.example:443/", "receiver.example:443", Origin(False, "receiver.example", 443)),
        ("http://receiver.example.:80/", "receiver.example", Origin(False, "receiver.example", 80)),
        ("http://bücher.example/", "xn--bcher-kva.example", Origin(False, "xn--bcher-kva.example", 80)),
        ("http://straße.example/", "xn--strae-oqa.example", Origin(False, "xn--strae-oqa.example", 80)),
        ("http://my_host.example/", "my_host.example", Origin(False, "my_host.example", 80)),
        ("http://[2606:4700::1111]:8080/", "[2606:4700::1111]:8080", Origin(False, "2606:4700::1111", 8080)),
    ],
)
def test_host_and_port_in_the_form_that_goes_over_the_wire(url: str, authority: str, origin: Origin) -> None:
    target = target_of(url)

    assert (target.authority, target.origin) == (authority, origin)


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "2130706433", "０１７７.1", "①②⑦.0.0.1", "127。1"])
def test_an_address_in_any_spelling_is_that_address(host: str) -> None:
    assert target_of(f"http://{host}/").address == ip_address("127.0.0.1")


@pytest.mark.parametrize(
    "url", ["http://user:secret@host.example/", "ftp://host.example/", "http://\u2603.\u2603/"]
)
def test_what_cannot_be_dialled_is_refused_without_quoting_a_secret(url: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        target_of(url)

    assert "secret" not in refused.value.reason
