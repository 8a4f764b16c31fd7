"""The states of a subscriber and the ways between them."""

from __future__ import annotations

import pytest

from mailement_newsletter.rules.lifecycle import (
    LEAVES_FROM,
    OptInMode,
    SubscriberStatus,
    status_after_signup,
)

PENDING, CONFIRMED, UNSUBSCRIBED, BOUNCED, COMPLAINED = SubscriberStatus


@pytest.mark.parametrize("current", [None, PENDING, UNSUBSCRIBED])
@pytest.mark.parametrize(
    ("mode", "auto_confirm", "status"),
    [
        (OptInMode.SINGLE, False, CONFIRMED),
        (OptInMode.SINGLE, True, CONFIRMED),
        (OptInMode.DOUBLE, False, PENDING),
        (OptInMode.DOUBLE, True, CONFIRMED),
    ],
)
def test_newcomers_and_returners_get_what_the_opt_in_mode_says(
    current: SubscriberStatus | None, mode: OptInMode, auto_confirm: bool, status: SubscriberStatus
) -> None:
    assert status_after_signup(current, mode, auto_confirm=auto_confirm) is status


@pytest.mark.parametrize("current", [CONFIRMED, BOUNCED, COMPLAINED])
@pytest.mark.parametrize("mode", OptInMode)
@pytest.mark.parametrize("auto_confirm", [False, True])
def test_a_signup_moves_nobody_out_of_confirmed_bounced_or_complained(
    current: SubscriberStatus, mode: OptInMode, auto_confirm: bool
) -> None:
    assert status_after_signup(current, mode, auto_confirm=auto_confirm) is current


@pytest.mark.parametrize("status", LEAVES_FROM)
def test_no_way_out_is_taken_twice(status: SubscriberStatus) -> None:
    assert status not in LEAVES_FROM[status]


def test_a_form_does_not_unsay_what_the_mail_system_said() -> None:
    assert not {BOUNCED, COMPLAINED} & set(LEAVES_FROM[UNSUBSCRIBED])
    assert COMPLAINED not in LEAVES_FROM[BOUNCED]
    assert BOUNCED in LEAVES_FROM[COMPLAINED]
