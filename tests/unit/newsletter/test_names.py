from __future__ import annotations

from typing import Any

import pytest

from mailement_common.ids import BrandId
from mailement_newsletter.commands import Subscribe
from mailement_newsletter.errors import InvalidName
from mailement_newsletter.rules import names
from mailement_newsletter.rules.addresses import parse_address


@pytest.mark.parametrize("text", ["nowness", "a", "a-1", "0", "x" * 63])
def test_a_slug_is_a_label_that_a_list_id_can_carry(text: str) -> None:
    assert names.slug(text) == text


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "Nowness", "two words", "müller", "a>", "a_b", "x" * 64, "a\n"]
)
def test_anything_else_is_no_slug(text: str) -> None:
    with pytest.raises(InvalidName):
        names.slug(text)


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\x00b", "x" * 201])
def test_a_name_is_one_line_that_is_not_empty(text: str) -> None:
    with pytest.raises(InvalidName):
        names.name(text)


def test_a_name_is_trimmed() -> None:
    assert names.name("  The Letter ") == "The Letter"


def test_a_sender_s_domain_is_kept_in_ascii() -> None:
    assert names.sender_address("News@münchen.example") == "News@xn--mnchen-3ya.example"


@pytest.mark.parametrize(
    "text",
    ["nobody", "jürgen@example.com", "A <a@example.com>", '"a b"@example.com', f"{'x' * 190}@example.com"],
)
def test_what_no_mail_system_can_send_from_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        names.sender_address(text)


@pytest.mark.parametrize(
    ("field", "most"), [("first_name", 80), ("last_name", 80), ("city", 120), ("source", 120)]
)
def test_the_document_s_limits_hold_at_every_door(field: str, most: int) -> None:
    _signup(**{field: "x" * most})
    for text in ("x" * (most + 1), "two\nlines"):
        with pytest.raises(InvalidName):
            _signup(**{field: text})


def _signup(**given: Any) -> Subscribe:
    return Subscribe(brand_id=BrandId(1), address=parse_address("reader@example.com"), **given)
