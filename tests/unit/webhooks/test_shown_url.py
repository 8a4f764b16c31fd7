"""A URL is shown without what opens doors."""

from __future__ import annotations

import pytest

from mailement_webhooks.rules.shown_url import shown_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://receiver.example/hook", "https://receiver.example/hook"),
        ("https://receiver.example:8443/hook?token=x#y", "https://receiver.example:8443/hook"),
        ("https://user:word@receiver.example/", "https://receiver.example/"),
        ("https://a@b@receiver.example/", "https://receiver.example/"),
        ("/relative?token=x", "/relative"),
        ("http://[2001:db8::1]:80/?x", "http://[2001:db8::1]:80/"),
    ],
)
def test_query_fragment_and_credentials_are_left_out(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError):
        shown_url("http://[nonsense")
