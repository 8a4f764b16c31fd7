from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mailement_common.ids import BrandId
from mailement_newsletter.errors import InvalidSetting
from mailement_newsletter.rules.mail_accounts import AccountProvider, checked
from mailement_newsletter.rules.senders import (
    MailAccountId,
    MailKind,
    Nobody,
    Sender,
    SenderId,
    SenderState,
    Situation,
    choose,
    day_of,
    end_of_day,
)
from mailement_newsletter.rules.warmup import Warmup

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
MIDNIGHT = datetime(2030, 2, 1, tzinfo=UTC)
QUIET = Situation(now=NOON)
ALL = frozenset(MailKind)


def a_sender(number: int, **changes: Any) -> Sender:
    sender: dict[str, Any] = {
        "id": SenderId(number),
        "brand_id": BrandId(1),
        "account_id": MailAccountId(number),
        "name": "Acme",
        "address": f"news{number}@acme.example",
        "reply_to": None,
        "kinds": ALL,
        "rank": number,
        "state": SenderState.ACTIVE,
    }
    return Sender(**{**sender, **changes})


FIRST = a_sender(1)
SECOND = a_sender(2)


def test_the_lowest_rank_goes_first_and_the_older_of_two() -> None:
    assert choose([SECOND, FIRST], MailKind.DRIP, QUIET) is FIRST
    twin = a_sender(3, rank=1)
    assert choose([twin, FIRST], MailKind.DRIP, QUIET) is FIRST


def test_a_sender_sends_only_its_kinds_of_mail() -> None:
    receipts = a_sender(1, kinds=frozenset({MailKind.TRANSACTIONAL}))

    assert choose([receipts, SECOND], MailKind.TRANSACTIONAL, QUIET) is receipts
    assert choose([receipts, SECOND], MailKind.CAMPAIGN, QUIET) is SECOND
    assert choose([receipts], MailKind.DRIP, QUIET) == Nobody(
        until=None, reason="the brand has no sender for drip mail"
    )


def test_the_next_in_rank_takes_over_from_one_that_is_paused() -> None:
    assert choose([a_sender(1, state=SenderState.PAUSED), SECOND], MailKind.DRIP, QUIET) is SECOND


def test_the_next_in_rank_takes_over_when_an_account_is_parked_paused_or_retired() -> None:
    parked = Situation(now=NOON, parked_until={MailAccountId(1): NOON + timedelta(seconds=1)})
    out = Situation(now=NOON, accounts_out=frozenset({MailAccountId(1)}))

    assert choose([FIRST, SECOND], MailKind.DRIP, parked) is SECOND
    assert choose([FIRST, SECOND], MailKind.DRIP, out) is SECOND


def test_a_rest_that_is_over_is_none() -> None:
    rested = Situation(now=NOON, parked_until={MailAccountId(1): NOON})
    assert choose([FIRST], MailKind.DRIP, rested) is FIRST


def test_the_account_of_the_settings_is_never_out() -> None:
    house = a_sender(1, account_id=None)
    out = Situation(now=NOON, accounts_out=frozenset({MailAccountId(1)}))
    assert choose([house], MailKind.DRIP, out) is house


def test_the_next_in_rank_takes_over_when_the_day_is_used_up() -> None:
    limited = a_sender(1, daily_limit=40)

    assert choose([limited, SECOND], MailKind.DRIP, Situation(now=NOON, used={"sender:1": 39})) is limited
    assert choose([limited, SECOND], MailKind.DRIP, Situation(now=NOON, used={"sender:1": 40})) is SECOND


def test_the_stricter_of_limit_and_warmup_holds() -> None:
    warming = a_sender(1, daily_limit=40, warmup=Warmup.SLOW, warmup_limit=5)
    grown = a_sender(1, daily_limit=10, warmup=Warmup.SLOW, warmup_limit=20)

    assert warming.day_limits == {"sender:1": 5}
    assert grown.day_limits == {"sender:1": 10}


def test_a_domain_is_warmed_up_by_all_of_its_senders_together() -> None:
    warming = a_sender(1, daily_limit=10, warmup=Warmup.DOMAIN, warmup_limit=50)
    assert warming.day_limits == {"sender:1": 10, "domain:acme.example": 50}

    full = Situation(now=NOON, used={"domain:acme.example": 50})
    assert choose([warming, SECOND], MailKind.DRIP, full) is SECOND


def test_a_warmup_that_is_paused_lets_nothing_out() -> None:
    paused = a_sender(1, warmup=Warmup.SLOW, warmup_limit=0)
    assert choose([paused], MailKind.DRIP, QUIET) == Nobody(
        until=MIDNIGHT, reason="the day's mails are used up"
    )


def test_without_anybody_the_answer_is_when_the_first_one_is_free() -> None:
    busy = Situation(
        now=NOON,
        parked_until={
            MailAccountId(2): NOON + timedelta(hours=1),
            MailAccountId(3): NOON + timedelta(days=3),
        },
        used={"sender:1": 40},
    )
    senders = [a_sender(1, daily_limit=40), SECOND, a_sender(3), a_sender(4, state=SenderState.PAUSED)]

    assert choose(senders, MailKind.DRIP, busy) == Nobody(
        until=NOON + timedelta(hours=1), reason="the mail account is parked"
    )


def test_nobody_knows_when_a_paused_sender_comes_back() -> None:
    found = choose([a_sender(1, state=SenderState.PAUSED)], MailKind.DRIP, QUIET)
    assert found == Nobody(until=None, reason="every sender is paused")


def test_days_are_those_of_utc() -> None:
    late_in_lima = datetime(2030, 1, 31, 20, tzinfo=timezone(timedelta(hours=-5)))
    assert day_of(late_in_lima).day == 1
    assert end_of_day(NOON) == MIDNIGHT


@pytest.mark.parametrize(
    ("provider", "settings", "has_secret"),
    [
        (AccountProvider.SMTP, {"host": "mx.example"}, False),
        (AccountProvider.SMTP, {"host": "10.0.0.1", "port": 2525, "tls": "none"}, False),
        (AccountProvider.SMTP, {"host": "mx.example", "user": "acme"}, True),
        (AccountProvider.RESEND, {}, True),
        (AccountProvider.RESEND, {"url": "http://127.0.0.1:9/api"}, True),
        (AccountProvider.FILE, {"folder": "/var/mail/acme"}, False),
    ],
)
def test_a_mail_account_is_told_what_its_provider_needs(
    provider: AccountProvider, settings: dict[str, Any], has_secret: bool
) -> None:
    assert checked(provider, settings, has_secret=has_secret) == settings


@pytest.mark.parametrize(
    ("provider", "settings", "has_secret", "why"),
    [
        (AccountProvider.SMTP, {}, False, "needs host"),
        (AccountProvider.SMTP, {"host": "mx.example", "user": "acme"}, False, "both or neither"),
        (AccountProvider.SMTP, {"host": "mx.example"}, True, "both or neither"),
        (AccountProvider.SMTP, {"host": "mx.example", "port": 0}, False, "port"),
        (AccountProvider.SMTP, {"host": "mx.example", "port": True}, False, "port"),
        (AccountProvider.SMTP, {"host": "mx example"}, False, "host"),
        (AccountProvider.SMTP, {"host": "mx.example", "tls": "maybe"}, False, "tls"),
        (AccountProvider.SMTP, {"host": "mx.example", "url": "http://a"}, False, "takes no url"),
        (AccountProvider.RESEND, {}, False, "API key"),
        (AccountProvider.RESEND, {"url": "http://user:word@api.example"}, True, "url"),
        (AccountProvider.FILE, {}, False, "needs folder"),
        (AccountProvider.FILE, {"folder": "a\nb"}, False, "folder"),
        (AccountProvider.FILE, {"folder": "mail"}, True, "no secret"),
    ],
)
def test_what_a_provider_cannot_use_is_refused(
    provider: AccountProvider, settings: dict[str, Any], has_secret: bool, why: str
) -> None:
    with pytest.raises(InvalidSetting, match=why):
        checked(provider, settings, has_secret=has_secret)
