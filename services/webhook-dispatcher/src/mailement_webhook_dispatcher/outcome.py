"""What an attempt came to, judged from what came back and from what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from mailement_webhook_dispatcher.http.exchange import Answer, Exchange, Fault, FaultKind
from mailement_webhooks.deliveries import Reason
from mailement_webhooks.endpoints import RetryMode
from mailement_webhooks.rules.retries import is_refusal, is_tried_again
from mailement_webhooks.rules.shown_url import shown_url

_LONGEST_DETAIL: Final = 300
_GONE: Final = 410
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503

# What a receiver may ask for. Whoever counts requests may have to wait for a window to end.
_LONGEST_WAIT: Final = {_TOO_MANY: timedelta(hours=10), _UNAVAILABLE: timedelta(hours=1)}

_PRESSED: Final = frozenset(
    {
        FaultKind.CONNECT_REFUSED,
        FaultKind.CONNECT_TIMEOUT,
        FaultKind.CONNECT_FAILED,
        FaultKind.RESET,
        FaultKind.READ_TIMEOUT,
        FaultKind.BODY_TIMEOUT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Worth another try. `detail` says the reason in words for people.

    `refusal`: the endpoint said that it does not want this, which is believed after some in a row.
    `retry_after`: how long the endpoint asked to be left alone. `gone`: it answered 410.
    """

    reason: Reason
    detail: str
    refusal: bool = False
    retry_after: timedelta | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """Not to be tried again; the endpoint is charged with it all the same, so the rest is as in Retry."""

    reason: Reason
    detail: str
    retry_after: timedelta | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OurFault:
    """It says nothing of the endpoint: neither its health nor the schedule pays for it."""

    reason: Reason
    detail: str


Outcome = Delivered | Retry | GiveUp | OurFault

_DELIVERED: Final = Delivered()


def judge(exchange: Exchange, *, retries: RetryMode, at: datetime) -> Outcome:
    """2xx, whole or cut at 4096 bytes, and in time, is delivered; redirects are not followed.

    An answer that says no counts as what it says, also when its body broke off. `at`: when the exchange ended.
    """
    answer, fault = exchange.answer, exchange.fault
    if answer is not None and (fault is None or not _is_success(answer)):
        return _DELIVERED if _is_success(answer) else _refused(answer, retries=retries, at=at)
    if fault is None:
        return OurFault(reason=Reason.INTERNAL_ERROR, detail="the exchange came to nothing")
    return _failed(fault, retries=retries)


def calls_for_fewer(exchange: Exchange) -> bool:
    """Whether fewer posts at a time might have gone better: no answer in time, no connection, 429 or 503."""
    if exchange.answer is not None and exchange.answer.status in _LONGEST_WAIT:
        return True
    return exchange.fault is not None and exchange.fault.kind in _PRESSED


def _is_success(answer: Answer) -> bool:
    return answer.status // 100 == 2


def _failed(fault: Fault, *, retries: RetryMode) -> Outcome:
    reason, detail = Reason(fault.kind.value), fault.detail[:_LONGEST_DETAIL]
    if reason is Reason.INTERNAL_ERROR:
        return OurFault(reason=reason, detail=detail)
    if not is_tried_again(retries, reason):
        return GiveUp(reason=reason, detail=detail)
    return Retry(reason=reason, detail=detail)


def _refused(answer: Answer, *, retries: RetryMode, at: datetime) -> Outcome:
    reason = _class_of(answer.status)
    retry_after = _retry_after(answer, at)
    detail = _in_words(answer, retry_after)[:_LONGEST_DETAIL]
    gone = answer.status == _GONE
    if not is_tried_again(retries, reason):
        return GiveUp(reason=reason, detail=detail, retry_after=retry_after, gone=gone)
    return Retry(
        reason=reason,
        detail=detail,
        refusal=is_refusal(reason, answer.status),
        retry_after=retry_after,
        gone=gone,
    )


def _class_of(status: int) -> Reason:
    match status // 100:
        case 3:
            return Reason.REDIRECT
        case 4:
            return Reason.HTTP_4XX
        case 5:
            return Reason.HTTP_5XX
        case _:
            return Reason.HTTP_OTHER


def _in_words(answer: Answer, retry_after: timedelta | None) -> str:
    if answer.status // 100 == 3:
        return _redirect(answer.header("location"))
    if retry_after is not None:
        wait = f"{retry_after.total_seconds():.0f} s"
        return f"the endpoint answered {answer.status} and asks to be left alone for {wait}"
    return f"the endpoint answered {answer.status}"


def _redirect(location: str | None) -> str:
    if location is None:
        return "the endpoint answered with a redirect; these are not followed"
    try:
        target = shown_url(location)
    except ValueError:
        target = "somewhere else"
    printable = "".join(character if character.isprintable() else "?" for character in target)
    return f"redirect to {printable}: update the URL"


def _retry_after(answer: Answer, at: datetime) -> timedelta | None:
    """Seconds or a date (RFC 9110, section 10.2.3), on the two statuses that give it a meaning here."""
    longest = _LONGEST_WAIT.get(answer.status)
    value = answer.header("retry-after")
    if longest is None or value is None:
        return None
    value = value.strip()
    asked = _seconds(value, longest) if value.isascii() and value.isdigit() else _until(value, at)
    return min(asked, longest) if asked is not None and asked > timedelta() else None


def _seconds(digits: str, longest: timedelta) -> timedelta:
    """More than nine digits are more than any bound, and no number to calculate with."""
    return timedelta(seconds=int(digits)) if len(digits) < 10 else longest


def _until(date: str, at: datetime) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - at
