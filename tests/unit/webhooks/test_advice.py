"""Every reason has a sentence for people."""

from __future__ import annotations

import pytest

from mailement_webhooks.deliveries import Reason
from mailement_webhooks.rules.advice import plain_words


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_says_what_is_wrong_and_what_to_do(reason: Reason) -> None:
    words = plain_words(reason)

    assert ": " in words
    assert words[0].isupper()
    assert words.endswith(".")


def test_no_two_reasons_say_the_same() -> None:
    assert len({plain_words(reason) for reason in Reason}) == len(Reason)


def test_a_status_that_says_more_is_told_more_exactly() -> None:
    assert "signature" in plain_words(Reason.HTTP_4XX, 401)
    assert plain_words(Reason.HTTP_4XX, 418) == plain_words(Reason.HTTP_4XX)


def test_a_success_that_broke_off_is_not_explained_by_its_status() -> None:
    assert plain_words(Reason.BODY_TIMEOUT, 503) == plain_words(Reason.BODY_TIMEOUT)
