"""Which strings are addresses, and which addresses are one person."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailement_newsletter.errors import EmailTooLong, InvalidEmail
from mailement_newsletter.rules.addresses import MAX_CHARACTERS, parse_address

# Far above what any address needs, far below what a backtracking expression would take.
_PATIENCE_SECONDS = 0.25


@pytest.mark.parametrize(
    "spelling",
    ["Reader@Example.COM", " reader@example.com\t", "READER@EXAMPLE.COM", "reader@example.com"],
)
def test_case_and_surrounding_space_make_no_other_person(spelling: str) -> None:
    assert parse_address(spelling).key == "reader@example.com"


def test_the_address_is_kept_as_it_was_typed_without_surrounding_space() -> None:
    assert parse_address("  Maria.Costa@Example.COM ").typed == "Maria.Costa@Example.COM"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("maria+news@example.com", "maria@example.com"),
        ("maria.costa@gmail.com", "mariacosta@gmail.com"),
        ("a@faß.example", "a@fass.example"),
        ("ß@example.com", "ss@example.com"),
    ],
)
def test_plus_tags_dots_and_sharp_s_make_another_person(one: str, other: str) -> None:
    assert parse_address(one).key != parse_address(other).key


@pytest.mark.parametrize(
    ("spelling", "key"),
    [
        ("post@München.example", "post@xn--mnchen-3ya.example"),
        ("post@XN--MNCHEN-3YA.example", "post@xn--mnchen-3ya.example"),
        ("post@mu\u0308nchen.example", "post@xn--mnchen-3ya.example"),
        ("почта@пример.рф", "почта@xn--e1afmkfd.xn--p1ai"),
        ("a@b.xn--p1ai", "a@b.xn--p1ai"),
        ("a@example。com", "a@example.com"),
        ("a@ｅxample.com", "a@example.com"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
        ("JOSÉ@example.com", "jos\u00e9@example.com"),
        ("J\u030cana@example.com", "\u01f0ana@example.com"),
        ('"maria"@example.com', "maria@example.com"),
        ('"maria costa"@example.com', '"maria costa"@example.com'),
    ],
)
def test_the_key_is_lower_case_nfc_with_the_domain_as_a_labels(spelling: str, key: str) -> None:
    assert parse_address(spelling).key == key


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "@",
        "reader",
        "reader@",
        "@example.com",
        "reader@example",
        "reader@localhost",
        "reader@example.com.",
        "reader@.example.com",
        "reader@example..com",
        "reader@-example.com",
        "reader@example-.com",
        "reader@example.123",
        "reader@192.0.2.1",
        "reader@[192.0.2.1]",
        "reader@[IPv6:2001:db8::1]",
        "reader@xn--a.com",
        "reader@exam_ple.com",
        "reader@exam ple.com",
        "a@b@example.com",
        ".reader@example.com",
        "reader.@example.com",
        "rea..der@example.com",
        "rea der@example.com",
        "rea,der@example.com",
        "reader(comment)@example.com",
        "Reader <reader@example.com>",
        "a@example.com,b@example.com",
        "reader@example.com\x00",
        "rea\x00der@example.com",
        "reader\n@example.com",
        "reader@example.com\r\nBcc: other@example.com",
        "rea\u200bder@example.com",
        "\u202ereader@example.com",
        "\ufeffreader@example.com",
        "\ud800@example.com",
        "reader@\ud800.com",
        "r" * 65 + "@example.com",
        "reader@" + "e" * 64 + ".com",
        "reader@example.c" + "o" * 63,
    ],
)
def test_what_no_mail_can_be_sent_to_is_refused(raw: str) -> None:
    with pytest.raises(InvalidEmail):
        parse_address(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "r@e.co",
        "r" * 64 + "@example.com",
        "reader@" + "e" * 63 + ".com",
        "!#$%&'*+/=?^_`{|}~-@example.com",
        "reader@a-b.example.com",
        "1@2.com",
    ],
)
def test_unusual_but_lawful_addresses_pass(raw: str) -> None:
    assert parse_address(raw).key == raw


def _address_of(characters: int) -> str:
    beginning = f"{'r' * 60}@{'e' * 60}."
    return beginning + "e" * (characters - len(beginning) - len(".net.com")) + ".net.com"


def test_190_characters_pass_and_one_more_is_too_long() -> None:
    assert len(parse_address(_address_of(MAX_CHARACTERS)).typed) == 190
    with pytest.raises(EmailTooLong):
        parse_address(_address_of(MAX_CHARACTERS + 1))


def test_the_length_counts_characters_behind_the_trimming() -> None:
    padded = f"   {_address_of(MAX_CHARACTERS)}   "
    assert len(parse_address(padded).typed) == 190


def test_too_long_is_said_before_anything_else_is_looked_at() -> None:
    with pytest.raises(EmailTooLong):
        parse_address("@" * 191)


@pytest.mark.parametrize(
    "evil",
    [
        "a" * 1_000_000,
        "a." * 90 + "@",
        "a@" + "b." * 90,
        "a@" + "b-" * 94,
        "a@" + "1" * 180 + "-",
        "@" * 190,
        '"' * 190,
        '"' + "\\" * 180 + "@b.co",
        "(" * 190,
        "a@[" + "1" * 180,
        "a@xn--" + "a" * 180,
        "a@" + "é." * 90 + "co",
        "é" * 180 + "@b.co",
    ],
    ids=lambda evil: f"{evil[:8]}… ({len(evil)})",
)
def test_no_input_makes_the_parser_slow(evil: str) -> None:
    started = time.process_time()
    with pytest.raises((InvalidEmail, EmailTooLong)):
        parse_address(evil)
    assert time.process_time() - started < _PATIENCE_SECONDS


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_an_address_or_refused(raw: str) -> None:
    try:
        address = parse_address(raw)
    except (InvalidEmail, EmailTooLong):
        return
    assert "@" in address.key
    assert not address.typed.isspace()


@settings(deadline=None)
@given(st.one_of(st.emails(), st.from_regex(r"[\w.+]{1,20}@[\w-]{1,10}\.(com|рф)", fullmatch=True)))
@example("H\u0331@example.com")
def test_a_key_is_its_own_key(raw: str) -> None:
    try:
        key = parse_address(raw).key
    except (InvalidEmail, EmailTooLong):
        return
    assert parse_address(key).key == key


@settings(deadline=None)
@given(st.emails())
def test_upper_case_makes_no_other_person(raw: str) -> None:
    try:
        address = parse_address(raw)
    except (InvalidEmail, EmailTooLong):
        return
    assert parse_address(raw.upper()).key == address.key
