from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_mailer.providers.port import Failed, Fault, RetryLater, Uncertain
from mailement_mailer.providers.smtp_answers import Scope, Stage, outcome, read

CONNECT, MAIL, RECIPIENT, DATA, DOT = Stage


@pytest.mark.parametrize(
    ("stage", "answer", "fault"),
    [
        (RECIPIENT, "550 5.1.1 The email account that you tried to reach does not exist", Fault.RECIPIENT),
        (RECIPIENT, "550 5.1.10 Recipient not found by SMTP address lookup", Fault.RECIPIENT),
        (RECIPIENT, "550 5.4.1 Recipient address rejected: Access denied", Fault.RECIPIENT),
        (RECIPIENT, "550 5.7.17 mailbox owner has changed", Fault.RECIPIENT),
        (RECIPIENT, "550 no such user here", Fault.RECIPIENT),
        (RECIPIENT, "550 nope", Fault.RECIPIENT),
        (RECIPIENT, "551 try elsewhere", Fault.RECIPIENT),
        (RECIPIENT, "556 domain does not accept mail", Fault.RECIPIENT),
        (DOT, "550 5.0.0 User unknown", Fault.RECIPIENT),
        (DOT, "554 5.2.1 mailbox disabled", Fault.RECIPIENT),
        (RECIPIENT, "452 4.2.2 The recipient's inbox is out of storage space", Fault.MAILBOX_FULL),
        (RECIPIENT, "552 quota exceeded", Fault.MAILBOX_FULL),
        (RECIPIENT, "552 sorry", Fault.MAILBOX_FULL),
        (RECIPIENT, "550 5.7.1 mailbox full", Fault.MAILBOX_FULL),
        (MAIL, "550 5.7.1 not you", Fault.POLICY),
        (MAIL, "553 5.1.8 sender's domain does not exist", Fault.POLICY),
        (RECIPIENT, "554 5.7.1 Sender address rejected: Access denied", Fault.POLICY),
        (RECIPIENT, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen", Fault.POLICY),
        (RECIPIENT, "450 4.7.1 Recipient address rejected: Greylisted", Fault.POLICY),
        (DOT, "550 5.7.606 Access denied, banned sending IP", Fault.POLICY),
        (DOT, "550 5.7.26 This mail has been blocked because the sender is unauthenticated", Fault.AUTH),
        (DOT, "550 5.7.515 Access denied, sending domain does not meet the level", Fault.AUTH),
        (DOT, "421 4.7.32 From header is not aligned", Fault.AUTH),
        (DOT, "554 5.7.0 DMARC policy says no", Fault.AUTH),
        (CONNECT, "535 5.7.8 credentials invalid", Fault.AUTH),
        (MAIL, "530 5.7.0 Must issue a STARTTLS command first", Fault.AUTH),
        (MAIL, "530 nothing more", Fault.AUTH),
        (MAIL, "454 TLS not available", Fault.AUTH),
        (DOT, "421 4.7.28 Our system has detected an unusual rate of unsolicited mail", Fault.RATE),
        (DOT, "421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume", Fault.RATE),
        (RECIPIENT, "451 4.7.650 has been temporarily rate limited due to IP reputation", Fault.RATE),
        (RECIPIENT, "450 4.2.1 user is receiving mail at a rate that", Fault.RATE),
        (RECIPIENT, "452 4.5.3 too many recipients", Fault.RATE),
        (MAIL, "451 4.7.1 slower", Fault.RATE),
        (MAIL, "450 4.7.1 come back", Fault.RATE),
        (RECIPIENT, "550 5.7.1 Relaying denied", Fault.RELAY),
        (RECIPIENT, "454 4.7.1 <a@b.example>: Relay access denied", Fault.RELAY),
        (DOT, "451 4.3.0 queue file write error", Fault.RELAY),
        (DOT, "451 later", Fault.RELAY),
        (DATA, "503 bad sequence", Fault.RELAY),
        (MAIL, "421 4.3.2 going down", Fault.RELAY),
        (DOT, "554 5.4.6 too many hops", Fault.RELAY),
        (DOT, "554 5.6.0 no", Fault.CONTENT),
        (DOT, "554 5.7.1 this looks like spam", Fault.CONTENT),
        (DOT, "552 5.3.4 message too big", Fault.CONTENT),
        (DOT, "554 refused", Fault.CONTENT),
        (DOT, "599 beg your pardon", Fault.UNKNOWN),
        (DOT, "499 ", Fault.UNKNOWN),
    ],
)
def test_what_an_answer_is_about(stage: Stage, answer: str, fault: Fault) -> None:
    code, _, message = answer.partition(" ")
    assert read(int(code), message, stage).fault is fault


@pytest.mark.parametrize(
    ("stage", "answer", "scope"),
    [
        (CONNECT, "421 too many connections", Scope.PROVIDER),
        (CONNECT, "554 no SMTP service here", Scope.PROVIDER),
        (CONNECT, "535 5.7.8 credentials invalid", Scope.PROVIDER),
        (MAIL, "530 5.7.0 authentication required", Scope.PROVIDER),
        (RECIPIENT, "530 5.7.0 authentication required", Scope.PROVIDER),
        (MAIL, "534 5.7.9 mechanism too weak", Scope.PROVIDER),
        (MAIL, "538 5.7.11 encryption required", Scope.PROVIDER),
        (MAIL, "454 4.7.0 TLS not available", Scope.PROVIDER),
        (RECIPIENT, "454 4.7.0 TLS not available", Scope.PROVIDER),
        (MAIL, "451 4.7.1 slower", Scope.PROVIDER),
        (MAIL, "421 4.7.0 rate limit", Scope.PROVIDER),
        (MAIL, "452 too many mails", Scope.PROVIDER),
        (MAIL, "421 4.3.2 going down", Scope.MAIL),
        (MAIL, "451 4.3.0 local error", Scope.MAIL),
        (MAIL, "550 5.7.1 not you", Scope.MAIL),
        (RECIPIENT, "550 5.1.1 no such user", Scope.MAIL),
        (RECIPIENT, "452 4.2.2 full", Scope.MAIL),
        (RECIPIENT, "454 4.7.1 Relay access denied", Scope.MAIL),
        (RECIPIENT, "450 4.2.1 receiving mail at a rate that", Scope.MAIL),
        (RECIPIENT, "451 4.7.1 Greylisted, too many from you", Scope.MAIL),
        (RECIPIENT, "421 4.4.2 timeout", Scope.MAIL),
        (DOT, "421 4.3.2 closing", Scope.MAIL),
        (DOT, "550 5.7.28 flood", Scope.MAIL),
        (RECIPIENT, "421 4.7.28 unusual rate", Scope.DESTINATION),
        (DOT, "450 4.7.28 unusual rate", Scope.DESTINATION),
        (DOT, "421 4.7.0 [TSS04] unexpected volume", Scope.DESTINATION),
        (DOT, "451 4.7.500 server busy", Scope.DESTINATION),
        (RECIPIENT, "421 try later", Scope.DESTINATION),
        (DATA, "421 4.7.0 Try again later, closing connection", Scope.DESTINATION),
    ],
)
def test_whom_an_answer_concerns(stage: Stage, answer: str, scope: Scope) -> None:
    code, _, message = answer.partition(" ")
    assert read(int(code), message, stage).scope is scope


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        ("451 4.7.1 Greylisted, try again in 300 seconds", timedelta(seconds=310)),
        ("451 4.7.1 Greylisted for 5 minutes", timedelta(seconds=310)),
        ("450 4.7.1 Greylisting in action, please come back in 00:05:00", timedelta(seconds=310)),
        ("450 Please wait another 90s.", timedelta(seconds=100)),
        ("450 try again after at least 1 hour", timedelta(hours=1, seconds=10)),
        ("450 come back in 30 days or in 900000 minutes", timedelta(hours=4)),
        ("450 4.7.1 greylisted", None),
        ("450 in 5 messages for 3 months", None),
        ("451 4.7.28 unusual rate", timedelta(minutes=10)),
        ("421 4.7.0 [TSS04] deferred", timedelta(hours=2)),
        ("421 4.7.0 [TSS05] deferred", timedelta(hours=4)),
        ("451 4.7.650 rate limited due to IP reputation", timedelta(minutes=15)),
        ("421 come again", None),
    ],
)
def test_how_long_it_asks_us_to_stay_away(answer: str, after: timedelta | None) -> None:
    code, _, message = answer.partition(" ")
    assert read(int(code), message, RECIPIENT).after == after


@pytest.mark.parametrize(
    ("message", "enhanced"),
    [
        ("5.1.1 no", "5.1.1"),
        ("5.1.1", "5.1.1"),
        ("4.7.650: busy", "4.7.650"),
        ("4.7.28 first\n4.7.28 second", "4.7.28"),
        ("no 5.1.1", None),
        ("3.1.1 no", None),
        ("5.1.1.1 no", None),
        ("", None),
    ],
)
def test_an_enhanced_code_is_the_first_word(message: str, enhanced: str | None) -> None:
    assert read(550, message, RECIPIENT).enhanced == enhanced


@pytest.mark.parametrize(
    ("stage", "answer", "expected"),
    [
        (
            RECIPIENT,
            "550 5.1.1 no",
            Failed(reason="550 5.1.1 no", code="550", enhanced="5.1.1", fault=Fault.RECIPIENT),
        ),
        (
            RECIPIENT,
            "452 4.2.2 full",
            RetryLater(reason="452 4.2.2 full", code="452", enhanced="4.2.2", fault=Fault.MAILBOX_FULL),
        ),
        (
            CONNECT,
            "535 no",
            RetryLater(
                reason="account: 535 no",
                after=timedelta(seconds=15),
                provider_wide=True,
                code="535",
                fault=Fault.AUTH,
            ),
        ),
        (DOT, "199 eh", Uncertain(reason="unreadable answer to the final dot: 199 eh")),
        (
            DATA,
            "250 eh",
            RetryLater(reason="unexpected answer: 250 eh", code="250", fault=Fault.UNKNOWN),
        ),
    ],
)
def test_what_becomes_of_a_mail(stage: Stage, answer: str, expected: Failed | RetryLater | Uncertain) -> None:
    code, _, message = answer.partition(" ")
    assert outcome(read(int(code), message, stage), stage) == expected


@pytest.mark.parametrize(
    "message",
    ["5.1.1 <ada@example.org>: unknown", "5.1.1 ada@example.org unknown", '5.1.1 "ada@example.org", who?'],
)
def test_an_address_in_an_answer_is_not_kept(message: str) -> None:
    assert "ada" not in read(550, message, RECIPIENT).text


@given(code=st.integers(-1, 999), message=st.text(), stage=st.sampled_from(Stage))
def test_whatever_a_server_says_means_something(code: int, message: str, stage: Stage) -> None:
    answer = read(code, message, stage)
    result = outcome(answer, stage)
    assert len(answer.text) <= 300
    if stage is DOT and not 400 <= code < 600:
        assert not isinstance(result, RetryLater) or result.provider_wide
    if isinstance(result, Failed):
        assert code >= 500
