"""Why a delivery has not arrived, in facts and in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from mailement_common.ids import BrandId, EventId
from mailement_webhooks.deliveries import Delivery, DeliveryState, Reason
from mailement_webhooks.endpoints import EndpointState, RetryMode, StateReason
from mailement_webhooks.explanations import (
    BlockerKind,
    EndpointFacts,
    Explanation,
    Facts,
    LastFailure,
    QueuePlace,
    explain,
)
from mailement_webhooks.ids import DeliveryId, EndpointId, Sequence
from mailement_webhooks.rules.health import HoldReason
from mailement_webhooks.rules.retries import MOST_TRIES, SCHEDULE

NOW = datetime(2026, 5, 19, 17, 42, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(minutes=10)
FAILURE = LastFailure(reason=Reason.HTTP_5XX, detail="HTTP 503", status_code=503, at=EARLIER)


def _explain(
    state: DeliveryState,
    *,
    reason: Reason | None = None,
    endpoint: dict[str, Any] | None = None,
    place: dict[str, Any] | None = None,
    failure: LastFailure | None = None,
    has_payload: bool = True,
) -> Explanation:
    """`place` None: it waits no more."""
    return explain(
        Facts(
            at=NOW,
            delivery=Delivery(
                id=DeliveryId(5),
                event_id=EventId(UUID(int=1)),
                endpoint_id=EndpointId(7),
                brand_id=BrandId(1),
                sequence=Sequence(3),
                type="subscriber.confirmed",
                state=state,
                reason=reason,
                attempts=2,
                occurred_at=EARLIER,
                created_at=EARLIER,
                finished_at=NOW if place is None else None,
                next_attempt_at=None,
            ),
            has_payload=has_payload,
            endpoint=_endpoint(**(endpoint or {})),
            place=None if place is None else _place(**place),
            last_failure=failure,
            hold_for=timedelta(days=7),
            order_for=timedelta(minutes=10),
        )
    )


def _endpoint(**facts: Any) -> EndpointFacts:
    usual: dict[str, Any] = {
        "state": EndpointState.ENABLED,
        "state_reason": None,
        "state_changed_at": EARLIER,
        "retries": RetryMode.SCHEDULE,
        "rate_per_second": None,
        "consecutive_failures": 0,
        "hold_until": None,
        "hold_reason": None,
    }
    return EndpointFacts(**{**usual, **facts})


def _place(**facts: Any) -> QueuePlace:
    usual: dict[str, Any] = {
        "due_at": NOW,
        "created_at": NOW,
        "leased_at": None,
        "tries": 0,
        "refusals": 0,
        "ahead": 0,
        "under_way": 0,
        "earlier_id": None,
    }
    return QueuePlace(**{**usual, **facts})


def _kinds(explained: Explanation) -> list[BlockerKind]:
    return [blocker.kind for blocker in explained.blockers]


def test_what_is_due_and_free_waits_for_a_slot_only() -> None:
    explained = _explain(DeliveryState.PENDING, place={})

    assert (explained.blockers, explained.next_attempt_at) == ((), NOW)
    assert explained.summary == "Due now: it is sent as soon as a dispatcher has a free slot."


def test_what_nobody_takes_raises_the_question_of_a_dispatcher() -> None:
    explained = _explain(DeliveryState.PENDING, place={"due_at": NOW - timedelta(minutes=3)})
    assert explained.summary == (
        "Due since 2026-05-19 17:39:00 UTC, and nobody took it: is a webhook dispatcher running?"
    )


def test_what_failed_waits_for_its_next_try_and_tells_the_schedule_left() -> None:
    explained = _explain(DeliveryState.PENDING, place={"due_at": LATER, "tries": 2}, failure=FAILURE)

    assert _kinds(explained) == [BlockerKind.NOT_DUE]
    assert explained.next_attempt_at == LATER
    assert explained.remaining[:2] == (LATER, LATER + SCHEDULE[2])
    assert len(explained.remaining) == MOST_TRIES - 2
    assert explained.last_error is not None
    assert explained.last_error.advice.startswith("The receiver says that it is not available")


def test_what_was_refused_has_three_tries_and_once_has_one() -> None:
    refusal = LastFailure(reason=Reason.HTTP_4XX, detail=None, status_code=404, at=EARLIER)
    refused_twice = {"due_at": LATER, "tries": 2, "refusals": 2}
    refused = _explain(DeliveryState.PENDING, place=refused_twice, failure=refusal)
    once = _explain(DeliveryState.PENDING, place={"due_at": LATER}, endpoint={"retries": RetryMode.ONCE})

    assert (refused.remaining, once.remaining) == ((LATER,), (LATER,))


def test_one_refusal_after_other_failures_leaves_two_more() -> None:
    refusal = LastFailure(reason=Reason.HTTP_4XX, detail=None, status_code=404, at=EARLIER)
    place = {"due_at": LATER, "tries": 6, "refusals": 1}

    assert _explain(DeliveryState.PENDING, place=place, failure=refusal).remaining == (
        LATER,
        LATER + SCHEDULE[6],
    )


def test_a_paused_endpoint_holds_until_somebody_enables_it_or_the_hold_expires() -> None:
    paused = {"state": EndpointState.PAUSED, "state_reason": StateReason.BY_OPERATOR}
    explained = _explain(DeliveryState.HELD, place={"due_at": EARLIER}, endpoint=paused)

    assert _kinds(explained) == [BlockerKind.ENDPOINT_PAUSED]
    assert (explained.next_attempt_at, explained.remaining) == (None, ())
    assert explained.hold_expires_at == EARLIER + timedelta(days=7)
    assert "paused since 2026-05-19 16:42:00 UTC" in explained.summary


@pytest.mark.parametrize(
    ("reason", "words"),
    [(StateReason.NO_SUCCESS, "nothing succeeded for five days"), (StateReason.GONE, "410 Gone twice")],
)
def test_a_disabled_endpoint_names_the_rule(reason: StateReason, words: str) -> None:
    disabled = {"state": EndpointState.DISABLED, "state_reason": reason}
    explained = _explain(DeliveryState.HELD, place={}, endpoint=disabled)

    assert _kinds(explained) == [BlockerKind.ENDPOINT_DISABLED]
    assert words in explained.summary


def test_an_open_breaker_names_the_failures_and_the_end_of_the_rest() -> None:
    resting = {"consecutive_failures": 12, "hold_until": LATER, "hold_reason": HoldReason.BREAKER}
    explained = _explain(DeliveryState.HELD, place={}, endpoint=resting)
    (blocker,) = explained.blockers

    assert (blocker.kind, blocker.count, blocker.until) == (BlockerKind.BREAKER_OPEN, 12, LATER)
    assert (explained.next_attempt_at, explained.hold_expires_at) == (LATER, None)
    assert "failed 12 times in a row" in explained.summary


def test_a_receiver_that_asked_for_peace_gets_it() -> None:
    resting = {"hold_until": LATER, "hold_reason": HoldReason.ASKED_TO_WAIT}
    assert _kinds(_explain(DeliveryState.HELD, place={}, endpoint=resting)) == [BlockerKind.ASKED_TO_WAIT]
    over = {"hold_until": EARLIER, "hold_reason": HoldReason.ASKED_TO_WAIT}
    assert _kinds(_explain(DeliveryState.PENDING, place={}, endpoint=over)) == []


def test_an_earlier_one_of_the_same_subscriber_is_named_while_it_is_waited_for() -> None:
    (blocker,) = _explain(DeliveryState.PENDING, place={"earlier_id": DeliveryId(4)}).blockers
    assert (blocker.kind, blocker.delivery_id) == (BlockerKind.EARLIER_OF_SUBSCRIBER, 4)
    assert blocker.until == NOW + timedelta(minutes=10)
    long_ago = {"earlier_id": DeliveryId(4), "created_at": EARLIER}
    assert _explain(DeliveryState.PENDING, place=long_ago).blockers == ()


def test_others_ahead_are_counted_and_a_rate_limit_is_told_with_them() -> None:
    slow = {"rate_per_second": 0.5}
    explained = _explain(DeliveryState.PENDING, place={"ahead": 3, "under_way": 2}, endpoint=slow)

    assert _kinds(explained) == [BlockerKind.OTHERS_AHEAD, BlockerKind.RATE_LIMIT]
    assert "3 due before it" in explained.summary
    assert "at most 0.5 a second" in explained.summary
    assert "1,000 or more due" in _explain(DeliveryState.PENDING, place={"ahead": 1000}).summary
    assert _explain(DeliveryState.PENDING, place={}, endpoint=slow).blockers == ()


def test_what_could_go_only_lately_raises_no_doubt_about_the_dispatcher() -> None:
    """Somebody who has just enabled an endpoint is not to look for a dispatcher that runs."""
    enabled = {"state_changed_at": NOW - timedelta(seconds=2)}
    rested = {"hold_until": NOW - timedelta(seconds=2), "hold_reason": HoldReason.BREAKER}
    long_due = {"due_at": EARLIER}

    for endpoint in (enabled, rested):
        for place in (long_due, {**long_due, "ahead": 5}):
            assert "running" not in _explain(DeliveryState.PENDING, place=place, endpoint=endpoint).summary


def test_what_is_due_behind_others_of_which_none_is_sent_raises_the_question_of_a_dispatcher() -> None:
    place = {"due_at": NOW - timedelta(minutes=3), "ahead": 5}
    explained = _explain(DeliveryState.PENDING, place=place)

    assert explained.summary == (
        "Not delivered yet: 5 due before it at the same endpoint, none being sent: "
        "is a webhook dispatcher running?"
    )
    slow = {"rate_per_second": 0.01}
    assert "running" not in _explain(DeliveryState.PENDING, place=place, endpoint=slow).summary


def test_the_first_in_a_full_endpoint_s_queue_is_the_next_in_turn() -> None:
    place = {"due_at": NOW - timedelta(minutes=3), "under_way": 10}

    assert _explain(DeliveryState.PENDING, place=place).summary == (
        "The next in turn: 10 to the same endpoint are being sent at this moment."
    )


def test_a_lease_that_nobody_ended_raises_the_question_of_a_dispatcher() -> None:
    explained = _explain(DeliveryState.LEASED, place={"due_at": EARLIER, "leased_at": EARLIER})

    assert explained.summary == (
        "Not delivered yet: no result was recorded by 2026-05-19 16:42:00 UTC, and nobody took it up again: "
        "is a webhook dispatcher running?"
    )


def test_what_was_removed_before_it_was_sent_says_so() -> None:
    explained = _explain(DeliveryState.PENDING, place={}, has_payload=False)

    assert _kinds(explained) == [BlockerKind.PAYLOAD_REMOVED]


@pytest.mark.parametrize(
    ("state", "endpoint", "has_payload", "expected"),
    [
        (DeliveryState.FAILED, {}, True, True),
        (DeliveryState.DELIVERED, {}, True, True),
        (DeliveryState.FAILED, {}, False, False),
        (DeliveryState.DISCARDED, {"state": EndpointState.DELETED}, True, False),
        (DeliveryState.PENDING, {}, True, False),
    ],
)
def test_it_says_whether_it_can_be_sent_once_more(
    state: DeliveryState, endpoint: dict[str, Any], has_payload: bool, expected: bool
) -> None:
    place: dict[str, Any] | None = {} if state is DeliveryState.PENDING else None
    explained = _explain(state, reason=Reason.DNS, endpoint=endpoint, place=place, has_payload=has_payload)
    assert explained.can_be_resent is expected


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_nothing_is_promised_of_what_was_given_up(status: int) -> None:
    reason = Reason.HTTP_4XX if status < 500 else Reason.HTTP_5XX
    failure = LastFailure(reason=reason, detail=None, status_code=status, at=EARLIER)
    explained = _explain(DeliveryState.FAILED, reason=reason, failure=failure)

    assert explained.last_error is not None
    assert "again" not in explained.summary + explained.last_error.advice


def test_what_is_under_way_is_blocked_by_nothing_else() -> None:
    paused = {"state": EndpointState.PAUSED}
    under_way = {"due_at": LATER, "leased_at": NOW, "ahead": 9, "tries": 1}
    explained = _explain(DeliveryState.LEASED, place=under_way, endpoint=paused)
    (blocker,) = explained.blockers

    assert (blocker.kind, blocker.since, blocker.until) == (BlockerKind.UNDER_WAY, NOW, LATER)
    assert explained.remaining[0] == NOW + SCHEDULE[1]
    last = {"due_at": LATER, "tries": MOST_TRIES - 1}
    assert _explain(DeliveryState.LEASED, place=last).remaining == ()


@pytest.mark.parametrize("tries", range(MOST_TRIES + 2))
@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.HELD, DeliveryState.LEASED])
def test_the_schedule_left_can_be_told_at_every_try(state: DeliveryState, tries: int) -> None:
    remaining = _explain(state, place={"tries": tries}).remaining
    assert list(remaining) == sorted(remaining)
    assert len(remaining) <= max(MOST_TRIES - tries, 0)


@pytest.mark.parametrize(
    ("state", "reason", "failure", "summary"),
    [
        (DeliveryState.DELIVERED, None, FAILURE, "Delivered at 2026-05-19 17:42:00 UTC; 2 attempts in all."),
        (
            DeliveryState.FAILED,
            Reason.HTTP_5XX,
            FAILURE,
            "Given up after 2 attempts. The receiver says that it is not",
        ),
        (DeliveryState.FAILED, Reason.DNS, None, "Given up after 2 attempts. The host's name cannot"),
        (DeliveryState.DISCARDED, Reason.DRAINED, None, "This was discarded when the endpoint was enabled"),
    ],
)
def test_what_has_ended_says_how(
    state: DeliveryState, reason: Reason | None, failure: LastFailure | None, summary: str
) -> None:
    explained = _explain(state, reason=reason, failure=failure)

    assert explained.summary.startswith(summary)
    assert (explained.blockers, explained.next_attempt_at, explained.remaining) == ((), None, ())
