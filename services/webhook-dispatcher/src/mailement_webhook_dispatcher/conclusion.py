"""What follows from an attempt: for its delivery, for its endpoint, and for those who want to be told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, assert_never

from mailement_webhook_dispatcher.attempt import Attempted
from mailement_webhook_dispatcher.outcome import Delivered, GiveUp, OurFault, Retry
from mailement_webhooks.deliveries import AttemptOutcome, Reason, Trigger
from mailement_webhooks.rules.health import Change, Health, after_failure, after_success
from mailement_webhooks.rules.retries import next_try, pause_after_our_fault
from mailement_webhooks.usecases.record_attempts import AttemptResult

# So often a delivery has to have failed for its arrival to be news.
TRIES_WORTH_TELLING: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """`result` goes into the ledger. `change`: the endpoint's health after it, and what its owner ought to hear."""

    attempted: Attempted
    result: AttemptResult
    change: Change

    @property
    def exhausted(self) -> bool:
        return self.result.outcome is AttemptOutcome.FAILED and self.result.next_attempt_in is None

    @property
    def recovered(self) -> bool:
        """As far as can be told without the ledger: see `may_have_recovered`."""
        return self._delivered and self.attempted.delivery.tries >= TRIES_WORTH_TELLING

    @property
    def may_have_recovered(self) -> bool:
        """It was sent again, and the ledger knows whether it had failed before."""
        return self._delivered and self.attempted.delivery.trigger is not Trigger.AUTOMATIC

    @property
    def _delivered(self) -> bool:
        return self.result.outcome is AttemptOutcome.DELIVERED


def conclude(attempted: Attempted, health: Health, *, pace: float) -> Conclusion:
    """`health`: the endpoint's before it. `pace`: what the schedule's pauses are multiplied by.

    An endpoint that was given up to another dispatcher is that one's to judge: its health stays.
    """
    outcome, delivery = attempted.outcome, attempted.delivery
    refusals = _refusals(attempted)
    match outcome:
        case Delivered():
            change = after_success(health, attempted.finished_at)
            return _concluded(
                attempted,
                change,
                reason=None,
                detail=None,
                tries=delivery.tries + 1,
                refusals=refusals,
                pause=None,
            )
        case Retry():
            tries = delivery.tries + (not attempted.probe)
            change = _after_failure(attempted, health)
            pause = next_try(
                tries=tries,
                refusals=refusals,
                trying_for=_trying_for(attempted),
                retry_after=None,
                jitter=attempted.jitter,
            )
            if pause is not None:
                pause = _stretched(pause * pace, outcome.retry_after, attempted, change.health)
        case GiveUp():
            tries, pause = delivery.tries + 1, None
            change = _after_failure(attempted, health)
        case OurFault():
            tries, change = delivery.tries, Change(health=health)
            pause = pause_after_our_fault(_trying_for(attempted))
            # Waiting brings nothing back.
            pause = None if pause is None or outcome.reason is Reason.PAYLOAD_REMOVED else pause * pace
        case _:
            assert_never(outcome)
    return _concluded(
        attempted,
        change,
        reason=outcome.reason,
        detail=outcome.detail,
        tries=tries,
        refusals=refusals,
        pause=pause,
    )


def _refusals(attempted: Attempted) -> int:
    """In a row, with this one. A probe that is refused spends none; whatever else it meets ends the row."""
    before = attempted.delivery.refusals
    match attempted.outcome:
        case OurFault():
            return before
        case Retry(refusal=True):
            return before + (not attempted.probe)
        case Delivered() | Retry() | GiveUp():
            return 0
        case _:
            assert_never(attempted.outcome)


def _after_failure(attempted: Attempted, health: Health) -> Change:
    if not attempted.workload.ours:
        return Change(health=health)
    outcome = attempted.outcome
    assert isinstance(outcome, Retry | GiveUp)
    return after_failure(
        health,
        attempted.finished_at,
        gone=outcome.gone,
        retry_after=outcome.retry_after,
        jitter=attempted.jitter,
    )


def _trying_for(attempted: Attempted) -> timedelta:
    """What was held until its endpoint was enabled has been tried since then."""
    endpoint, delivery = attempted.workload.endpoint, attempted.delivery
    return attempted.finished_at - max(delivery.created_at, endpoint.state_changed_at)


def _stretched(
    pause: timedelta, retry_after: timedelta | None, attempted: Attempted, health: Health
) -> timedelta:
    """At least as long as was asked for. A probe waits for the end of the rest, so that the next is another delivery:
    if it is this one alone that cannot be taken, the breaker must not hang on it.
    """
    waits = [pause, retry_after or pause]
    if attempted.probe and health.hold_until is not None:
        waits.append(health.hold_until - attempted.finished_at)
    return max(waits)


def _concluded(
    attempted: Attempted,
    change: Change,
    *,
    reason: Reason | None,
    detail: str | None,
    tries: int,
    refusals: int,
    pause: timedelta | None,
) -> Conclusion:
    exchange, answer = attempted.exchange, attempted.exchange.answer
    return Conclusion(
        attempted=attempted,
        change=change,
        result=AttemptResult(
            delivery_id=attempted.delivery.id,
            lease_token=attempted.delivery.lease_token,
            outcome=AttemptOutcome.DELIVERED if reason is None else AttemptOutcome.FAILED,
            reason=reason,
            detail=None if detail is None else storable(detail),
            status_code=None if answer is None else answer.status,
            request_head=storable(exchange.request_head) if exchange.request_head else None,
            response_head=None if answer is None else storable(answer.head),
            response_body=None if answer is None else storable(answer.body.decode(errors="replace")),
            started_at=attempted.started_at,
            duration_ms=round(attempted.took * 1000),
            phases=exchange.phases,
            tries=tries,
            refusals=refusals,
            next_attempt_in=None if pause is None else pause.total_seconds(),
        ),
    )


def storable(text: str) -> str:
    """PostgreSQL takes neither NUL nor half a surrogate pair."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
