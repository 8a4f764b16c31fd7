"""What an attempt's outcome means for the message. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from mailement_mailer.providers.port import Failed, Outcome, RetryLater, Sent, Uncertain
from mailement_mailer.text import one_line, shortened
from mailement_newsletter.queries.messages import Attempt, Claimed, Fate
from mailement_newsletter.rules.messages import AttemptOutcome, MessageState

# 30 s, 1, 2, 4, 8, 16, 32 min: the last attempt is made an hour after the first.
MAX_TRIES: Final = 8
_FIRST_BACKOFF: Final = timedelta(seconds=30)
_LONGEST_BACKOFF: Final = timedelta(hours=1)
_JITTER: Final = 0.1
# How long the mailer rests when no mail would have been taken and the provider did not say.
DEFAULT_PAUSE: Final = timedelta(seconds=15)
_REASON_CHARACTERS: Final = 500
_IN_DOUBT: Final = "it may have arrived before"


def settle(outcome: Outcome, message: Claimed, *, now: datetime, in_batch: bool = False) -> Fate:
    """The ledger's entry for the attempt that has just ended; `message` does not count it yet.

    `in_batch`: the mail went out with others under one key, so it can only go out again with them.
    """
    tries = message.tries + 1
    match outcome:
        case Sent():
            provider_id = outcome.provider_message_id
            return Fate(
                id=message.id,
                lease_token=message.lease_token,
                state=MessageState.SENT,
                attempts=message.attempts + 1,
                tries=tries,
                provider_message_id=None if provider_id is None else _storable(provider_id),
                finished_at=now,
            )
        case Failed() if message.may_have_arrived and not in_batch:
            # What refuses it now need not be who took it before. Of a mail in a batch it is the answer under their key.
            return _ended(MessageState.UNCERTAIN, message, tries, f"{_IN_DOUBT}: {outcome.reason}", now)
        case Failed():
            return _ended(MessageState.FAILED, message, tries, outcome.reason, now)
        case Uncertain():
            return _ended(MessageState.UNCERTAIN, message, tries, outcome.reason, now)
        case RetryLater(provider_wide=True) | RetryLater(held_back=True):
            return _not_taken(outcome, message, now, in_batch=in_batch)
        case RetryLater(only_together=True) if not message.may_have_arrived:
            # Certainly not taken; with a try behind it, it goes alone.
            return replace(_again(outcome, message, tries, None, in_batch=False), thaw=True)
        case RetryLater() if tries >= MAX_TRIES:
            in_doubt = outcome.may_have_arrived or message.may_have_arrived
            state = MessageState.UNCERTAIN if in_doubt else MessageState.FAILED
            return _ended(state, message, tries, f"gave up after {tries} attempts: {outcome.reason}", now)
        case RetryLater():
            again_at = now + max(backoff(tries), outcome.after or timedelta())
            return _again(outcome, message, tries, again_at, in_batch=in_batch)
        case _:
            assert_never(outcome)


def settled(
    messages: Sequence[Claimed],
    outcomes: Sequence[Outcome],
    *,
    in_batch: bool,
    seconds: float,
    now: datetime,
) -> list[Fate]:
    """The entries for all the mails of one request, with their attempts. Those that go out again do so together."""
    fates = [
        replace(
            settle(outcome, message, now=now, in_batch=in_batch),
            attempt=attempt_of(outcome, seconds=seconds),
        )
        for message, outcome in zip(messages, outcomes, strict=True)
    ]
    waits = [fate.not_before for fate in fates if fate.state is MessageState.SENDING and fate.not_before]
    if not waits:
        return fates
    again_at = max(waits)
    return [
        replace(fate, not_before=again_at) if fate.state is MessageState.SENDING else fate for fate in fates
    ]


def attempt_of(outcome: Outcome, *, seconds: float) -> Attempt | None:
    """The attempt for the message's history; None if the mail was held back, which is none."""
    match outcome:
        case Sent():
            kind, code, reason = AttemptOutcome.SENT, None, None
        case Failed():
            kind, code, reason = AttemptOutcome.FAILED, outcome.code, outcome.reason
        case Uncertain():
            kind, code, reason = AttemptOutcome.UNCERTAIN, outcome.code, outcome.reason
        case RetryLater(held_back=True):
            return None
        case RetryLater():
            kind, code, reason = AttemptOutcome.RETRY, outcome.code, outcome.reason
        case _:
            assert_never(outcome)
    return Attempt(
        outcome=kind,
        code=None if code is None else _storable(code),
        reason=None if reason is None else _storable(reason),
        duration_ms=round(seconds * 1000),
    )


def refused(message: Claimed, reason: str, *, now: datetime) -> Fate:
    """For a message that no mail could be made of: it fails without an attempt."""
    return replace(
        _ended(MessageState.FAILED, message, message.tries, reason, now), attempts=message.attempts
    )


def put_off(message: Claimed, reason: str, *, now: datetime) -> Fate:
    """For a message that no mail could be made of by a defect of ours: again later, without an attempt."""
    tries = message.tries + 1
    if tries >= MAX_TRIES:
        end = unclear if message.may_have_arrived else refused
        return end(message, f"gave up after {tries} tries: {reason}", now=now)
    fate = _again(RetryLater(reason=reason), message, tries, now + backoff(tries), in_batch=False)
    return replace(fate, attempts=message.attempts)


def unclear(message: Claimed, reason: str, *, now: datetime) -> Fate:
    """For a mail that may have arrived and that nobody can ask about any more."""
    return replace(
        _ended(MessageState.UNCERTAIN, message, message.tries, reason, now), attempts=message.attempts
    )


def thawed(message: Claimed, reason: str) -> Fate:
    """For a mail that has certainly not arrived and whose way is closed: it may go another."""
    fate = _again(RetryLater(reason=reason), message, message.tries, None, in_batch=False)
    return replace(fate, attempts=message.attempts, thaw=True)


def backoff(attempt: int) -> timedelta:
    """How long to wait after the attempt of this number (1, 2, …), give or take a tenth."""
    wait = min(_FIRST_BACKOFF * (1 << (attempt - 1)), _LONGEST_BACKOFF)
    return timedelta(seconds=wait.total_seconds() * random.uniform(1 - _JITTER, 1 + _JITTER))


def _ended(state: MessageState, message: Claimed, tries: int, reason: str, now: datetime) -> Fate:
    return Fate(
        id=message.id,
        lease_token=message.lease_token,
        state=state,
        attempts=message.attempts + 1,
        tries=tries,
        error=_storable(reason),
        finished_at=now,
        may_have_arrived=state is MessageState.UNCERTAIN,
    )


def _not_taken(outcome: RetryLater, message: Claimed, now: datetime, *, in_batch: bool) -> Fate:
    """Not held against the mail: an hour without network must not fail a day's mails.

    A mail that nobody was asked to take before may go another way, and at once: its own way rests.
    """
    again_at = now + (outcome.after or DEFAULT_PAUSE)
    if message.is_frozen:
        fate = _again(outcome, message, message.tries, again_at, in_batch=in_batch)
    else:
        not_before = again_at if outcome.held_back else None
        fate = replace(_again(outcome, message, message.tries, not_before, in_batch=False), thaw=True)
    return replace(fate, attempts=message.attempts) if outcome.held_back else fate


def _again(
    outcome: RetryLater, message: Claimed, tries: int, not_before: datetime | None, *, in_batch: bool
) -> Fate:
    return Fate(
        id=message.id,
        lease_token=message.lease_token,
        state=MessageState.SENDING if in_batch else MessageState.QUEUED,
        attempts=message.attempts + 1,
        tries=tries,
        not_before=not_before,
        error=_storable(outcome.reason),
        # What one attempt has left open is not settled by another that was refused.
        may_have_arrived=message.may_have_arrived or outcome.may_have_arrived,
    )


def _storable(text: str) -> str:
    return shortened(one_line(text), _REASON_CHARACTERS)
