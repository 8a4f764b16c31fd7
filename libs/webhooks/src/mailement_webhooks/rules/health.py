"""How an endpoint fares: when it is left in peace, when its owner is told, and when it is switched off.

Fed with every attempt that says something of the endpoint: not with interrupted ones, and not with faults of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

FAILURES_THAT_TRIP: Final = 10
FIRST_REST: Final = timedelta(seconds=30)
LONGEST_REST: Final = timedelta(minutes=15)
MOST_JITTER: Final = 0.1
LONGEST_WAIT_ASKED: Final = timedelta(hours=1)

# All three must hold: time alone would punish brands with few events, numbers alone a bad hour.
DISABLED_AFTER: Final = timedelta(days=5)
DISABLED_AFTER_FAILURES: Final = 20
DISABLED_AFTER_FAILURE_DAYS: Final = 3
DISABLED_AFTER_GONE: Final = 2

TOLD_BY_THE_BREAKER: Final = 1
_TOLD_AT_PER_CENT: Final = (75, 50, 25)
_SUCCESSES_ARE_TOLD_APART_BY: Final = timedelta(minutes=1)


class HoldReason(StrEnum):
    """Why nothing is sent to an endpoint that is enabled."""

    BREAKER = "breaker"
    ASKED_TO_WAIT = "asked_to_wait"


class Admission(StrEnum):
    """What may be sent now. `probe`: one delivery, and after it nothing until its result is known."""

    FREE = "free"
    PROBE = "probe"
    HELD = "held"


class Fact(StrEnum):
    """What the owner of an endpoint ought to hear."""

    FAILING = "failing"
    DISABLED_NO_SUCCESS = "disabled_no_success"
    DISABLED_GONE = "disabled_gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All counts are since the last success; as it stands here, nothing is known yet.

    `failure_days`: distinct days (UTC) with a failure. `gone_in_a_row`: 410s without anything else between them.
    `breaker_trips`: how often the breaker opened without closing; it is open as long as this is not 0.
    `hold_until`: nothing is sent before then. `told`: how far FAILING was told: 0 not at all, 1 by the breaker,
    then the per cent (25, 50, 75) of the way to being disabled.
    `last_success_at` is true to the minute. `fresh_starts`: how often somebody switched the endpoint on again, so that late
    news of the time before does not count for the time after.
    """

    consecutive_failures: int = 0
    failure_days: int = 0
    last_failure_day: date | None = None
    first_failure_at: datetime | None = None
    last_success_at: datetime | None = None
    gone_in_a_row: int = 0
    breaker_trips: int = 0
    hold_until: datetime | None = None
    hold_reason: HoldReason | None = None
    told: int = 0
    fresh_starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`health` is the very object that came in when nothing is worth writing."""

    health: Health
    facts: tuple[Fact, ...] = ()


def may_send(health: Health, at: datetime) -> Admission:
    if health.hold_until is not None and at < health.hold_until:
        return Admission.HELD
    return Admission.PROBE if health.breaker_trips else Admission.FREE


def after_success(health: Health, at: datetime) -> Change:
    """Closes the breaker and forgets the failures; a rest that was asked for is kept to its end."""
    resting = health.hold_reason is HoldReason.ASKED_TO_WAIT and may_send(health, at) is Admission.HELD
    if not health.consecutive_failures and (resting or health.hold_until is None) and _just_told(health, at):
        return Change(health=health)
    return Change(
        health=Health(
            last_success_at=at,
            hold_until=health.hold_until if resting else None,
            hold_reason=HoldReason.ASKED_TO_WAIT if resting else None,
            fresh_starts=health.fresh_starts,
        )
    )


def after_failure(
    health: Health, at: datetime, *, gone: bool, retry_after: timedelta | None, jitter: float
) -> Change:
    """`gone`: it answered 410. `retry_after`: how long it asked to be left alone.

    FAILING is stated once for each mark that is passed. What disables is stated again by every failure after it,
    so that it is not lost with a transaction. `jitter`: from 0 to 1, drawn by the caller.
    """
    counted = _counted(health, at, gone=gone)
    rested = _rested(counted, at, retry_after=retry_after, jitter=jitter)
    if rested.gone_in_a_row >= DISABLED_AFTER_GONE:
        return Change(health=rested, facts=(Fact.DISABLED_GONE,))
    if _is_hopeless(rested, at):
        return Change(health=rested, facts=(Fact.DISABLED_NO_SUCCESS,))
    told = _to_be_told(rested, at)
    if told > rested.told:
        return Change(health=replace(rested, told=told), facts=(Fact.FAILING,))
    return Change(health=rested)


def after_enabling(health: Health) -> Health:
    """Somebody switched the endpoint on again: it starts afresh, or its next failure would switch it off."""
    return Health(last_success_at=health.last_success_at, fresh_starts=health.fresh_starts + 1)


def worth_writing(written: Health, now: Health) -> bool:
    """Whether the row of `written` is out of date; it is not while a healthy endpoint stays so for a minute."""
    return written != now


def disabled_at(health: Health) -> datetime | None:
    """The earliest moment at which the endpoint is switched off if nothing succeeds; None: it is not failing."""
    return None if health.first_failure_at is None else health.first_failure_at + DISABLED_AFTER


def _just_told(health: Health, at: datetime) -> bool:
    last = health.last_success_at
    return last is not None and at - last < _SUCCESSES_ARE_TOLD_APART_BY


def _counted(health: Health, at: datetime, *, gone: bool) -> Health:
    day, last = at.astimezone(UTC).date(), health.last_failure_day
    # Around midnight, and between two owners' clocks, they may come in the wrong order.
    new_day = last is None or day > last
    return replace(
        health,
        consecutive_failures=health.consecutive_failures + 1,
        failure_days=health.failure_days + new_day,
        last_failure_day=day if new_day else last,
        first_failure_at=health.first_failure_at or at,
        gone_in_a_row=health.gone_in_a_row + 1 if gone else 0,
    )


def _rested(health: Health, at: datetime, *, retry_after: timedelta | None, jitter: float) -> Health:
    """The longest of the rest that runs, the breaker's, and the one asked for."""
    until, reason, trips = health.hold_until, health.hold_reason, health.breaker_trips
    # While the breaker is open, failures are stragglers from before; behind its rest, the probe has failed.
    if health.consecutive_failures >= FAILURES_THAT_TRIP and (not trips or until is None or at >= until):
        trips += 1
        until, reason = _later((until, reason), (at + _rest(trips, jitter), HoldReason.BREAKER))
    if retry_after is not None:
        asked = at + min(retry_after, LONGEST_WAIT_ASKED)
        until, reason = _later((until, reason), (asked, HoldReason.ASKED_TO_WAIT))
    return replace(health, hold_until=until, hold_reason=reason, breaker_trips=trips)


_Hold = tuple[datetime | None, HoldReason | None]


def _later(standing: _Hold, offered: tuple[datetime, HoldReason]) -> _Hold:
    return offered if standing[0] is None or standing[0] < offered[0] else standing


def _rest(trips: int, jitter: float) -> timedelta:
    doublings = min(trips - 1, 10)
    return min(FIRST_REST * (1 << doublings), LONGEST_REST) * (1 + MOST_JITTER * jitter)


def _is_hopeless(health: Health, at: datetime) -> bool:
    return (
        health.first_failure_at is not None
        and at - health.first_failure_at >= DISABLED_AFTER
        and health.consecutive_failures >= DISABLED_AFTER_FAILURES
        and health.failure_days >= DISABLED_AFTER_FAILURE_DAYS
    )


def _to_be_told(health: Health, at: datetime) -> int:
    if health.first_failure_at is not None:
        way = (at - health.first_failure_at) / DISABLED_AFTER
        for per_cent in _TOLD_AT_PER_CENT:
            if way * 100 >= per_cent:
                return per_cent
    return TOLD_BY_THE_BREAKER if health.breaker_trips else 0
