"""Why a delivery has not arrived: the facts, and the words for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, assert_never

from mailement_webhooks.deliveries import Delivery, DeliveryState, Reason
from mailement_webhooks.endpoints import EndpointState, RetryMode, StateReason
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.rules.advice import plain_words
from mailement_webhooks.rules.health import HoldReason
from mailement_webhooks.rules.retries import SCHEDULE, is_tried_again, most_tries, remaining_schedule

MOST_AHEAD_COUNTED: Final = 1_000
_SUSPICIOUSLY_LONG: Final = timedelta(minutes=1)
_IS_ONE_RUNNING: Final = "is a webhook dispatcher running?"


class BlockerKind(StrEnum):
    """What a delivery waits for."""

    ENDPOINT_PAUSED = "endpoint_paused"
    ENDPOINT_DISABLED = "endpoint_disabled"
    BREAKER_OPEN = "breaker_open"
    ASKED_TO_WAIT = "asked_to_wait"
    UNDER_WAY = "under_way"
    NOT_DUE = "not_due"
    EARLIER_OF_SUBSCRIBER = "earlier_of_subscriber"
    OTHERS_AHEAD = "others_ahead"
    RATE_LIMIT = "rate_limit"
    PAYLOAD_REMOVED = "payload_removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """`text`: the same in words. `until`: at the latest. `delivery_id`: the one that is waited for. `count`: of failures in a
    row, or of deliveries ahead.
    """

    kind: BlockerKind
    text: str
    since: datetime | None = None
    until: datetime | None = None
    delivery_id: DeliveryId | None = None
    count: int | None = None


_PAYLOAD_REMOVED: Final = Blocker(
    kind=BlockerKind.PAYLOAD_REMOVED,
    text="what it carried has been removed, so that it is given up when its turn comes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """`advice`: what is wrong and what to do, in plain words."""

    reason: Reason
    detail: str | None
    status_code: int | None
    at: datetime
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`remaining`: when the tries that are left come at the earliest, the next one first; empty if nobody can say.
    `hold_expires_at`: when it is discarded if its endpoint is not enabled before. `can_be_resent`: it has ended, what it
    carried is still there, and so is its endpoint.
    """

    delivery: Delivery
    blockers: tuple[Blocker, ...]
    next_attempt_at: datetime | None
    remaining: tuple[datetime, ...]
    hold_expires_at: datetime | None
    last_error: LastError | None
    can_be_resent: bool
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlace:
    """Where a delivery stands in the queue. `ahead`: those of its endpoint that are due before it, counted up to 1,000.
    `earlier_id`: one of the same subscriber that must go first.
    """

    due_at: datetime
    created_at: datetime
    leased_at: datetime | None
    tries: int
    refusals: int
    ahead: int
    under_way: int
    earlier_id: DeliveryId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFacts:
    """What of an endpoint can stand in the way."""

    state: EndpointState
    state_reason: StateReason | None
    state_changed_at: datetime
    retries: RetryMode
    rate_per_second: float | None
    consecutive_failures: int
    hold_until: datetime | None
    hold_reason: HoldReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFailure:
    """The newest attempt that failed or was interrupted."""

    reason: Reason
    detail: str | None
    status_code: int | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`place` None: it waits no more. `hold_for`: how long what is held is kept. `order_for`: how long order is waited for."""

    at: datetime
    delivery: Delivery
    has_payload: bool
    endpoint: EndpointFacts
    place: QueuePlace | None
    last_failure: LastFailure | None
    hold_for: timedelta
    order_for: timedelta


def explain(facts: Facts) -> Explanation:
    blockers = _blockers(facts)
    next_at = _next_attempt_at(facts)
    return Explanation(
        delivery=facts.delivery,
        blockers=blockers,
        next_attempt_at=next_at,
        remaining=_remaining(facts, next_at),
        hold_expires_at=_hold_expires_at(facts),
        last_error=_last_error(facts.last_failure),
        can_be_resent=_can_be_resent(facts),
        summary=_summary(facts, blockers),
    )


def _blockers(facts: Facts) -> tuple[Blocker, ...]:
    place = facts.place
    if place is None or facts.delivery.state is DeliveryState.DISCARDED:
        return ()
    if facts.delivery.state is DeliveryState.LEASED:
        return (_under_way(place, facts.at),)
    found = (
        _switched_off(facts.endpoint),
        _resting(facts.endpoint, facts.at),
        _not_due(place, facts.at),
        _earlier(place, facts),
        _others_ahead(place, facts),
        _rate_limit(facts.endpoint, place, facts.at),
        None if facts.has_payload else _PAYLOAD_REMOVED,
    )
    return tuple(blocker for blocker in found if blocker is not None)


def _under_way(place: QueuePlace, at: datetime) -> Blocker:
    until = _moment(place.due_at)
    text = f"it is being sent; if no result is recorded by {until}, it is taken up again"
    if at - place.due_at > _SUSPICIOUSLY_LONG:
        text = f"no result was recorded by {until}, and nobody took it up again: {_IS_ONE_RUNNING}"
    return Blocker(
        kind=BlockerKind.UNDER_WAY,
        text=text,
        since=place.leased_at,
        until=place.due_at,
    )


def _switched_off(endpoint: EndpointFacts) -> Blocker | None:
    since = _moment(endpoint.state_changed_at)
    match endpoint.state:
        case EndpointState.PAUSED:
            return Blocker(
                kind=BlockerKind.ENDPOINT_PAUSED,
                text=f"its endpoint has been paused since {since}: enable it to let deliveries flow again",
                since=endpoint.state_changed_at,
            )
        case EndpointState.DISABLED:
            return Blocker(
                kind=BlockerKind.ENDPOINT_DISABLED,
                text=f"its endpoint has been disabled since {since}, {_rule(endpoint.state_reason)}: "
                "mend the receiver, then enable the endpoint",
                since=endpoint.state_changed_at,
            )
        case EndpointState.ENABLED | EndpointState.DELETED:
            return None
        case _:
            assert_never(endpoint.state)


def _rule(reason: StateReason | None) -> str:
    match reason:
        case StateReason.NO_SUCCESS:
            return "because nothing succeeded for five days"
        case StateReason.GONE:
            return "because the receiver answered 410 Gone twice in a row"
        case StateReason.BY_OPERATOR | None:
            return "by an operator"
        case _:
            assert_never(reason)


def _resting(endpoint: EndpointFacts, at: datetime) -> Blocker | None:
    if endpoint.hold_until is None or endpoint.hold_until <= at:
        return None
    until = _moment(endpoint.hold_until)
    if endpoint.hold_reason is HoldReason.ASKED_TO_WAIT:
        return Blocker(
            kind=BlockerKind.ASKED_TO_WAIT,
            text=f"the receiver asked to be left alone until {until}",
            until=endpoint.hold_until,
        )
    return Blocker(
        kind=BlockerKind.BREAKER_OPEN,
        text=f"its endpoint failed {endpoint.consecutive_failures} times in a row and rests until {until}; "
        "then one delivery is tried",
        until=endpoint.hold_until,
        count=endpoint.consecutive_failures,
    )


def _not_due(place: QueuePlace, at: datetime) -> Blocker | None:
    if place.due_at <= at:
        return None
    return Blocker(
        kind=BlockerKind.NOT_DUE,
        text=f"its next attempt is due at {_moment(place.due_at)}",
        until=place.due_at,
    )


def _earlier(place: QueuePlace, facts: Facts) -> Blocker | None:
    until = place.created_at + facts.order_for
    if place.earlier_id is None or until <= facts.at:
        return None
    return Blocker(
        kind=BlockerKind.EARLIER_OF_SUBSCRIBER,
        text=f"delivery {place.earlier_id} of the same subscriber goes first; it is waited for until {_moment(until)} "
        "at the latest",
        until=until,
        delivery_id=place.earlier_id,
    )


def _others_ahead(place: QueuePlace, facts: Facts) -> Blocker | None:
    if not place.ahead or place.due_at > facts.at:
        return None
    many = f"{MOST_AHEAD_COUNTED:,} or more" if place.ahead >= MOST_AHEAD_COUNTED else str(place.ahead)
    doubt = f": {_IS_ONE_RUNNING}" if _stands_still(place, facts) else ""
    return Blocker(
        kind=BlockerKind.OTHERS_AHEAD,
        text=f"{many} due before it at the same endpoint, {place.under_way or 'none'} being sent{doubt}",
        count=place.ahead,
    )


def _rate_limit(endpoint: EndpointFacts, place: QueuePlace, at: datetime) -> Blocker | None:
    if endpoint.rate_per_second is None or not place.ahead or place.due_at > at:
        return None
    return Blocker(
        kind=BlockerKind.RATE_LIMIT,
        text=f"its endpoint gets at most {endpoint.rate_per_second:g} a second",
    )


def _next_attempt_at(facts: Facts) -> datetime | None:
    """None: nobody can say, it is being sent, or there is none."""
    is_off = facts.endpoint.state is not EndpointState.ENABLED
    if (
        facts.place is None
        or is_off
        or facts.delivery.state not in {DeliveryState.PENDING, DeliveryState.HELD}
    ):
        return None
    return max(facts.at, facts.place.due_at, facts.endpoint.hold_until or facts.at)


def _stands_still(place: QueuePlace, facts: Facts) -> bool:
    """Whether nothing has been sent to the endpoint for longer than can be explained."""
    return (
        not place.under_way
        and facts.endpoint.rate_per_second is None
        and facts.delivery.state is DeliveryState.PENDING
        and facts.at - _could_go_since(place, facts.endpoint) > _SUSPICIOUSLY_LONG
    )


def _could_go_since(place: QueuePlace, endpoint: EndpointFacts) -> datetime:
    """What was held or rested until then has not waited for a dispatcher."""
    return max(place.due_at, endpoint.state_changed_at, endpoint.hold_until or place.due_at)


def _remaining(facts: Facts, next_at: datetime | None) -> tuple[datetime, ...]:
    if facts.place is None:
        return ()
    tries, most = facts.place.tries, _most_tries(facts.endpoint, facts.place, facts.last_failure)
    if facts.delivery.state is DeliveryState.LEASED:
        if tries + 1 >= most:
            return ()
        # What follows the attempt that is being made, if it fails.
        return remaining_schedule(tries=tries + 1, most=most, next_at=facts.at + SCHEDULE[tries])
    return () if next_at is None else remaining_schedule(tries=tries, most=most, next_at=next_at)


def _most_tries(endpoint: EndpointFacts, place: QueuePlace, last: LastFailure | None) -> int:
    if not is_tried_again(endpoint.retries, last.reason if last else None):
        return 1
    return most_tries(tries=place.tries, refusals=place.refusals)


def _hold_expires_at(facts: Facts) -> datetime | None:
    if facts.place is None or facts.delivery.state is not DeliveryState.HELD:
        return None
    if facts.endpoint.state not in {EndpointState.PAUSED, EndpointState.DISABLED}:
        return None
    return max(facts.place.due_at, facts.endpoint.state_changed_at) + facts.hold_for


def _last_error(failure: LastFailure | None) -> LastError | None:
    if failure is None:
        return None
    return LastError(
        reason=failure.reason,
        detail=failure.detail,
        status_code=failure.status_code,
        at=failure.at,
        advice=plain_words(failure.reason, failure.status_code),
    )


def _can_be_resent(facts: Facts) -> bool:
    has_ended = facts.delivery.state in {
        DeliveryState.DELIVERED,
        DeliveryState.FAILED,
        DeliveryState.DISCARDED,
    }
    return has_ended and facts.has_payload and facts.endpoint.state is not EndpointState.DELETED


def _summary(facts: Facts, blockers: tuple[Blocker, ...]) -> str:
    delivery, failure = facts.delivery, facts.last_failure
    match delivery.state:
        case DeliveryState.DELIVERED:
            when = "" if delivery.finished_at is None else f" at {_moment(delivery.finished_at)}"
            return f"Delivered{when}; {_times(delivery.attempts)} in all."
        case DeliveryState.FAILED:
            status = failure.status_code if failure and failure.reason is delivery.reason else None
            why = "" if delivery.reason is None else f" {plain_words(delivery.reason, status)}"
            once = ", which is all that its endpoint is set to" if _had_one_only(facts) else ""
            return f"Given up after {_times(delivery.attempts)}{once}.{why}"
        case DeliveryState.DISCARDED:
            return "Not sent." if delivery.reason is None else plain_words(delivery.reason)
        case DeliveryState.LEASED | DeliveryState.HELD | DeliveryState.PENDING:
            if blockers:
                return _sentence(f"Not delivered yet: {'; '.join(blocker.text for blocker in blockers)}")
            return _due_now(facts)
        case _:
            assert_never(delivery.state)


def _had_one_only(facts: Facts) -> bool:
    return facts.endpoint.retries is RetryMode.ONCE and facts.delivery.attempts == 1


def _due_now(facts: Facts) -> str:
    place = facts.place
    if place is not None and place.under_way:
        return f"The next in turn: {place.under_way} to the same endpoint are being sent at this moment."
    if place is not None and _stands_still(place, facts):
        since = _moment(_could_go_since(place, facts.endpoint))
        return f"Due since {since}, and nobody took it: {_IS_ONE_RUNNING}"
    return "Due now: it is sent as soon as a dispatcher has a free slot."


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _times(attempts: int) -> str:
    return f"{attempts} attempt{'' if attempts == 1 else 's'}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
