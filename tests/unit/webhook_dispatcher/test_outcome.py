"""Every answer and every fault has its class."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_webhook_dispatcher.http.exchange import Answer, Exchange, Fault, FaultKind, Phases
from mailement_webhook_dispatcher.outcome import (
    Delivered,
    GiveUp,
    OurFault,
    Outcome,
    Retry,
    calls_for_fewer,
    judge,
)
from mailement_webhooks.deliveries import Reason
from mailement_webhooks.endpoints import RetryMode

AT = datetime(2026, 5, 19, 17, 42, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _exchange(answer: Answer | None = None, fault: Fault | None = None) -> Exchange:
    return Exchange(answer=answer, fault=fault, phases=Phases(), request_head="", reused=False)


def _answer(status: int, **headers: str) -> Answer:
    return Answer(
        status=status, headers=tuple((name.replace("_", "-"), value) for name, value in headers.items())
    )


def _fault(kind: FaultKind) -> Fault:
    return Fault(kind=kind, detail="in words")


def _judge(
    answer: Answer | None = None, fault: Fault | None = None, *, retries: RetryMode = RetryMode.SCHEDULE
) -> Outcome:
    return judge(_exchange(answer, fault), retries=retries, at=AT)


def _retry_after(status: int, value: str) -> timedelta | None:
    outcome = _judge(_answer(status, Retry_After=value))
    assert isinstance(outcome, Retry)
    return outcome.retry_after


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert _judge(Answer(status=status)) == Delivered()


def test_a_2xx_with_more_to_say_than_is_read_is_delivered() -> None:
    assert _judge(Answer(status=200, body=b"x" * 4096, complete=False)) == Delivered()


@pytest.mark.parametrize("kind", [FaultKind.BODY_TIMEOUT, FaultKind.RESET, FaultKind.BAD_RESPONSE])
def test_a_2xx_that_broke_off_is_not(kind: FaultKind) -> None:
    outcome = _judge(Answer(status=200, complete=False), _fault(kind))

    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.refusal) == (Reason(kind.value), False)


@pytest.mark.parametrize(
    ("status", "reason", "refusal"),
    [
        (101, Reason.HTTP_OTHER, True),
        (300, Reason.REDIRECT, True),
        (302, Reason.REDIRECT, True),
        (304, Reason.REDIRECT, True),
        (308, Reason.REDIRECT, True),
        (400, Reason.HTTP_4XX, True),
        (401, Reason.HTTP_4XX, True),
        (404, Reason.HTTP_4XX, True),
        (408, Reason.HTTP_4XX, False),
        (425, Reason.HTTP_4XX, False),
        (429, Reason.HTTP_4XX, False),
        (500, Reason.HTTP_5XX, False),
        (503, Reason.HTTP_5XX, False),
        (599, Reason.HTTP_5XX, False),
        (600, Reason.HTTP_OTHER, True),
    ],
)
def test_every_other_status_has_its_class_and_is_a_refusal_or_not(
    status: int, reason: Reason, refusal: bool
) -> None:
    assert _judge(Answer(status=status)) == Retry(
        reason=reason,
        detail=f"the endpoint answered {status}"
        if reason is not Reason.REDIRECT
        else "the endpoint answered with a redirect; these are not followed",
        refusal=refusal,
    )


def test_gone_is_flagged() -> None:
    outcome = _judge(Answer(status=410))

    assert isinstance(outcome, Retry)
    assert (outcome.gone, outcome.refusal) == (True, True)


def test_a_no_counts_as_what_it_says_also_when_its_body_broke_off() -> None:
    outcome = _judge(_answer(503, Retry_After="60"), _fault(FaultKind.BODY_TIMEOUT))

    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.retry_after) == (Reason.HTTP_5XX, timedelta(seconds=60))


def test_a_redirect_names_its_target_without_query_or_password() -> None:
    outcome = _judge(_answer(302, location="https://user:word@a.example/new?token=hidden#top"))

    assert isinstance(outcome, Retry)
    assert outcome.detail == "redirect to https://a.example/new: update the URL"


@pytest.mark.parametrize("location", ["http://[nonsense", "\udc80\x00\x7f", "x" * 5000, ""])
def test_a_redirect_to_nonsense_is_still_a_redirect(location: str) -> None:
    outcome = _judge(_answer(302, location=location))

    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.REDIRECT
    assert outcome.detail.isprintable()
    assert len(outcome.detail) <= 300


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_has_the_reason_of_its_name_and_its_detail(kind: FaultKind) -> None:
    outcome = _judge(fault=_fault(kind))

    assert not isinstance(outcome, Delivered)
    assert (outcome.reason, outcome.detail) == (Reason(kind.value), "in words")


@pytest.mark.parametrize("kind", [FaultKind.BLOCKED_ADDRESS, FaultKind.BAD_URL])
def test_what_can_never_be_reached_is_not_tried_again(kind: FaultKind) -> None:
    assert isinstance(_judge(fault=_fault(kind)), GiveUp)


@pytest.mark.parametrize("kind", [FaultKind.DNS, FaultKind.TLS, FaultKind.CONNECT_REFUSED])
def test_names_certificates_and_servers_come_back(kind: FaultKind) -> None:
    outcome = _judge(fault=_fault(kind))

    assert isinstance(outcome, Retry)
    assert not outcome.refusal


@pytest.mark.parametrize("retries", list(RetryMode))
def test_a_mistake_of_ours_is_nobody_else_s(retries: RetryMode) -> None:
    mistake = _judge(fault=_fault(FaultKind.INTERNAL_ERROR), retries=retries)

    assert mistake == OurFault(reason=Reason.INTERNAL_ERROR, detail="in words")
    assert isinstance(_judge(retries=retries), OurFault)


@pytest.mark.parametrize("status", [302, 400, 429, 500, 600])
def test_where_one_attempt_is_promised_it_stays_at_one(status: int) -> None:
    assert isinstance(_judge(Answer(status=status), retries=RetryMode.ONCE), GiveUp)


def test_where_one_attempt_is_promised_the_endpoint_s_wishes_are_heard_all_the_same() -> None:
    asked = _judge(_answer(429, Retry_After="60"), retries=RetryMode.ONCE)
    gone = _judge(Answer(status=410), retries=RetryMode.ONCE)

    assert isinstance(asked, GiveUp)
    assert asked.retry_after == timedelta(seconds=60)
    assert isinstance(gone, GiveUp)
    assert gone.gone


def test_retry_after_may_be_seconds_or_a_date() -> None:
    in_two_minutes = format_datetime(AT + timedelta(minutes=2), usegmt=True)

    assert _retry_after(429, "120") == timedelta(minutes=2)
    assert _retry_after(503, f" {in_two_minutes} ") == timedelta(minutes=2)
    assert _retry_after(503, in_two_minutes.replace("GMT", "-0000")) == timedelta(minutes=2)


def test_retry_after_is_bounded() -> None:
    far = format_datetime(AT + timedelta(days=400), usegmt=True)

    assert [_retry_after(503, value) for value in ("86400", "9" * 5000, far)] == [HOUR] * 3
    assert [_retry_after(429, value) for value in ("86400", "9" * 5000, far)] == [10 * HOUR] * 3


@pytest.mark.parametrize("status", [400, 408, 410, 500, 502])
def test_retry_after_is_heard_on_429_and_503_alone(status: int) -> None:
    assert _retry_after(status, "120") is None


@pytest.mark.parametrize("value", ["", "0", "-5", "1.5", "soon", "²", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_retry_after_that_asks_for_nothing_is_none(value: str) -> None:
    assert _retry_after(429, value) is None


_PARTS_OF_DATES = [
    "Wed",
    ",",
    " ",
    "21",
    "Oct",
    "2026",
    "07:28:00",
    "GMT",
    "+0000",
    "-9999",
    "9" * 20,
    "0",
    ":",
]


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(_PARTS_OF_DATES)).map("".join)))
def test_no_retry_after_is_a_stumbling_block(value: str) -> None:
    asked = _retry_after(503, value)

    assert asked is None or timedelta() < asked <= HOUR


def test_the_wish_is_told_in_words() -> None:
    outcome = _judge(_answer(429, Retry_After="120"))

    assert isinstance(outcome, Retry)
    assert outcome.detail == "the endpoint answered 429 and asks to be left alone for 120 s"


@pytest.mark.parametrize(
    ("exchange", "fewer"),
    [
        (_exchange(Answer(status=200)), False),
        (_exchange(Answer(status=429)), True),
        (_exchange(Answer(status=503)), True),
        (_exchange(Answer(status=500)), False),
        (_exchange(Answer(status=404)), False),
        (_exchange(fault=_fault(FaultKind.READ_TIMEOUT)), True),
        (_exchange(fault=_fault(FaultKind.CONNECT_REFUSED)), True),
        (_exchange(fault=_fault(FaultKind.TLS)), False),
        (_exchange(fault=_fault(FaultKind.BLOCKED_ADDRESS)), False),
        (_exchange(Answer(status=200), _fault(FaultKind.BODY_TIMEOUT)), True),
    ],
)
def test_overload_is_told_from_other_failures(exchange: Exchange, fewer: bool) -> None:
    assert calls_for_fewer(exchange) is fewer
