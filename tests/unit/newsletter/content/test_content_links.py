"""Links are found and numbered once, and their tokens are ours alone."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailement_common.sealing import KeyRing, new_key
from mailement_newsletter.content.links import NotOurToken, Token, Tokens, TokenType, slotted, with_pixel
from mailement_newsletter.content.styles import inlined

OLD = new_key("old")
TOKENS = Tokens(KeyRing(OLD))

a_token = st.builds(Token, st.sampled_from(TokenType), st.integers(0, 2**63 - 1), st.integers(0, 2**16 - 1))
# Pieces that HTML is made of, and that could be mistaken for links.
_WHOLE = [
    '<a href="https://x.example/1">',
    "<A class='b' HREF='http://y.example/?a=1&amp;b=2'>",
    "<a href=https://z.example/3>",
    '<a href="{{ unsubscribe_url }}">',
    '<a href="https://x.example/{{ email }}">',
    '<a title="<a href=\'https://no.example\'>" href="mailto:a@b.example">',
    '<a href="#top">',
    '<a {% if city %}href="https://c.example"{% endif %}>',
    '<a data-href="https://no.example" href="tel:1">',
    "</a>",
    "<style>a[href='https://no.example']{}</style>",
    "<!-- <a href='https://no.example'> -->",
    "<!--[if mso]><a href='https://mso.example'><![endif]-->",
    "{{ '<a href=\"https://no.example\">' }}",
    '<img src="https://no.example/a.png">',
    "text & <b>more</b>",
]
_BROKEN = ["<", '"', "'", ">", "<a href=", "<!--", "{{", "{%", "slot", "\n"]
a_source = st.lists(st.sampled_from([*_WHOLE, *_BROKEN]), max_size=12).map("".join)
a_whole_source = st.lists(st.sampled_from(_WHOLE), max_size=12).map("".join)


@settings(deadline=None)
@given(a_token)
def test_a_token_tells_what_it_was_made_of(token: Token) -> None:
    text = TOKENS.make(token)
    assert re.fullmatch(r"[A-Za-z0-9_-]{30}", text)
    assert TOKENS.read(text) == token


@settings(deadline=None)
@given(a_token, st.integers(0, 29), st.sampled_from("ABCxyz019-_"))
def test_no_changed_letter_is_overlooked(token: Token, place: int, letter: str) -> None:
    text = TOKENS.make(token)
    changed = text[:place] + letter + text[place + 1 :]
    if changed != text:
        with pytest.raises(NotOurToken):
            TOKENS.read(changed)


def test_the_last_letter_has_one_spelling() -> None:
    text = TOKENS.make(Token(TokenType.CLICK, 7, 1))
    raw = base64.urlsafe_b64decode(text + "==")
    others = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if c != text[-1]]
    same_bytes = [c for c in others if base64.urlsafe_b64decode(text[:-1] + c + "==") == raw]
    assert same_bytes
    for letter in same_bytes:
        with pytest.raises(NotOurToken):
            TOKENS.read(text[:-1] + letter)


@settings(deadline=None)
@given(st.text(max_size=40) | st.text("AZaz09-_", min_size=30, max_size=30))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(NotOurToken):
        TOKENS.read(text)


def test_a_token_outlives_the_change_of_the_signing_key() -> None:
    text = TOKENS.make(Token(TokenType.CLICK, 7, 1))
    changed = Tokens(KeyRing(f"{new_key('new')},{OLD}"))
    assert changed.read(text) == Token(TokenType.CLICK, 7, 1)
    assert changed.make(Token(TokenType.CLICK, 7, 1)) != text


def test_a_token_of_another_installation_is_refused() -> None:
    # So many that their keys' marks meet.
    for _ in range(600):
        with pytest.raises(NotOurToken):
            TOKENS.read(Tokens(KeyRing(new_key("old"))).make(Token(TokenType.CLICK, 7, 1)))


def test_all_keys_with_the_same_mark_are_tried() -> None:
    keys = [new_key(f"k{i}") for i in range(300)]
    ring = Tokens(KeyRing(",".join(keys)))
    for key in keys:
        assert ring.read(Tokens(KeyRing(key)).make(Token(TokenType.PIXEL, 9, 0))).message_id == 9


def test_links_to_the_web_are_numbered_in_their_order() -> None:
    found = slotted(
        """<a href="https://x.example/1">a</a> <A class='b' HREF=' http://y.example/?a=1&amp;b=2 '>b</A>
        <area href=https://z.example/3/> <a
        href = "HTTPS://x.example/1">d</a><!--[if mso]><a href="https://mso.example">e</a><![endif]-->"""
    )
    assert found.links == [
        "https://x.example/1",
        "http://y.example/?a=1&b=2",
        "https://z.example/3/",
        "HTTPS://x.example/1",
        "https://mso.example",
    ]


@pytest.mark.parametrize(
    "source",
    [
        '<a href="{{ unsubscribe_url }}">',
        '<a href="https://x.example/{{ email }}">',
        '<a href="{% if city %}https://x.example{% endif %}">',
        '<a href="mailto:a@b.example">',
        '<a href="tel:+3412345">',
        '<a href="#top">',
        '<a href="/relative">',
        '<a href="https://">',
        '<a name="https://x.example">',
        '<link href="https://x.example/a.css">',
        "<a title='<a href=\"https://x.example\">'>",
        '<!-- <a href="https://x.example"> -->',
        '<style><a href="https://x.example"></style>',
        '<title><a href="https://x.example"></title>',
        "{{ '<a href=\"https://x.example\">' }}",
        '<a href="https://x.example',
        '<a href="https://x.example"',
    ],
)
def test_what_is_no_link_to_the_web_stays(source: str) -> None:
    assert (slotted(source).source, slotted(source).links) == (source, [])


@settings(deadline=None)
@given(a_source)
def test_with_the_links_put_back_nothing_has_changed(source: str) -> None:
    # The links are put back as they were written.
    found = slotted(source)
    written = [link.replace("&", "&amp;") for link in found.links]
    assert re.sub(rf"{found.mark}(\d+)z", lambda slot: written[int(slot[1])], found.source) == source


@settings(deadline=None)
@given(a_whole_source)
def test_what_only_looks_like_a_link_is_none(source: str) -> None:
    assert not any("no.example" in link for link in slotted(source).links)


@settings(deadline=None)
@given(a_source)
def test_no_part_of_another_message_and_no_address_is_in_what_is_filled(source: str) -> None:
    found = slotted(source)
    filled = found.filled(found.source, lambda number: f"https://t.example/{number}?a&b")
    assert found.mark not in filled
    assert filled.count("https://t.example/") == len(found.links)
    assert "?a&b" not in filled


def test_slots_pass_through_the_inliner() -> None:
    found = slotted('<style>a{color:red}</style><a href="https://x.example/?a&amp;b">x</a>')
    html = found.filled(inlined(found.source), lambda number: f"https://t.example/c/{number}")
    assert 'href="https://t.example/c/0"' in html


def test_a_source_that_quotes_the_slots_of_another_is_not_misread() -> None:
    first = slotted('<a href="https://x.example">x</a>')
    second = slotted(first.source)
    assert second.links == []
    assert second.filled(second.source, lambda number: "https://t.example") == first.source


def test_the_pixel_stands_at_the_end_of_the_body() -> None:
    assert with_pixel("<body>a</body></html>", "https://t.example/o/x").endswith(
        'alt="" style="display:block;border:0"></body></html>'
    )
    assert with_pixel("a", "https://t.example/?a&b").startswith('a<img src="https://t.example/?a&amp;b"')
