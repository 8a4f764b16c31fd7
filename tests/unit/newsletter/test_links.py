"""Unsubscribe tokens: ours open, all others do not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailement_common.ids import SubscriberId
from mailement_common.sealing import KeyRing, new_key
from mailement_newsletter.links import NotOurLink, read_unsubscribe_token, unsubscribe_token, unsubscribe_url

KEYS = KeyRing(new_key("now"))
SUBSCRIBER = SubscriberId(41023)


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=2**63 - 1).map(SubscriberId))
def test_a_token_names_its_subscriber(subscriber: SubscriberId) -> None:
    assert read_unsubscribe_token(KEYS, unsubscribe_token(KEYS, subscriber)) == subscriber


def test_the_url_ends_in_the_token_and_needs_no_escaping() -> None:
    url = unsubscribe_url("https://news.example", KEYS, SUBSCRIBER)
    prefix, _, token = url.rpartition("/")
    assert prefix == "https://news.example/unsubscribe"
    assert read_unsubscribe_token(KEYS, token) == SUBSCRIBER


def test_a_token_of_another_installation_is_refused() -> None:
    foreign = unsubscribe_token(KeyRing(new_key("now")), SUBSCRIBER)
    with pytest.raises(NotOurLink):
        read_unsubscribe_token(KEYS, foreign)


def test_a_token_outlives_the_change_of_the_signing_key() -> None:
    old = new_key("old")
    token = unsubscribe_token(KeyRing(old), SUBSCRIBER)
    assert read_unsubscribe_token(KeyRing(f"{new_key('new')},{old}"), token) == SUBSCRIBER


def test_a_signature_for_another_purpose_is_refused() -> None:
    raw = SUBSCRIBER.to_bytes(8, "big")
    forged = base64.urlsafe_b64encode(raw + KEYS.sign(raw, purpose="confirm")).decode()
    with pytest.raises(NotOurLink):
        read_unsubscribe_token(KEYS, forged)


def test_the_signature_of_one_subscriber_does_not_serve_another() -> None:
    raw = base64.urlsafe_b64decode(unsubscribe_token(KEYS, SUBSCRIBER))
    forged = base64.urlsafe_b64encode((SUBSCRIBER + 1).to_bytes(8, "big") + raw[8:]).decode()
    with pytest.raises(NotOurLink):
        read_unsubscribe_token(KEYS, forged)


def test_no_beginning_of_a_token_opens() -> None:
    token = unsubscribe_token(KEYS, SUBSCRIBER)
    for length in range(len(token)):
        with pytest.raises(NotOurLink):
            read_unsubscribe_token(KEYS, token[:length])


def test_no_changed_byte_is_overlooked() -> None:
    raw = base64.urlsafe_b64decode(unsubscribe_token(KEYS, SUBSCRIBER))
    for place in range(len(raw)):
        changed = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
        with pytest.raises(NotOurLink):
            read_unsubscribe_token(KEYS, base64.urlsafe_b64encode(changed).decode())


def test_a_longer_token_is_refused() -> None:
    raw = base64.urlsafe_b64decode(unsubscribe_token(KEYS, SUBSCRIBER))
    with pytest.raises(NotOurLink):
        read_unsubscribe_token(KEYS, base64.urlsafe_b64encode(raw + b"\0").decode())


@settings(deadline=None)
@given(st.text(max_size=100))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(NotOurLink):
        read_unsubscribe_token(KEYS, text)
