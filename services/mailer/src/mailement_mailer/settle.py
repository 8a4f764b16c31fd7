"""What an attempt's outcome means for the message. Pure."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Final, assert_never

from mailement_mailer.providers.port import Failed, Outcome, RetryLater, Sent, Uncertain
from mailement_mailer.text import one_line, shortened
from mailement_newsletter.queries.messages import Claimed, Fate, MessageState

# 30 s, 1, 2, 4, 8, 16, 32 min: the last attempt is made an hour after the first.
MAX_ATTEMPTS: Final = 8
_FIRST_BACKOFF: Final = timedelta(seconds=30)
_LONGEST_BACKOFF: Final = timedelta(hours=1)
_JITTER: Final = 0.1
# How long the mailer rests when no mail would have been taken and the provider did not say.
DEFAULT_PAUSE: Final = timedelta(seconds=15)
_REASON_CHARACTERS: Final = 500


def settle(outcome: Outcome, message: Claimed, *, now: datetime) -> Fate:
    """The ledger's entry for the attempt that has just ended; `message.attempts` does not count it yet."""
    attempt = message.attempts + 1
    match outcome:
        case Sent():
            provider_id = outcome.provider_message_id
            return Fate(
                id=message.id,
                lease_token=message.lease_token,
                state=MessageState.SENT,
                attempts=attempt,
                provider_message_id=None if provider_id is None else _storable(provider_id),
                finished_at=now,
            )
        case Failed():
            return _ended(MessageState.FAILED, message, attempt, outcome.reason, now)
        case Uncertain():
            return _ended(MessageState.UNCERTAIN, message, attempt, outcome.reason, now)
        case RetryLater(provider_wide=True) | RetryLater(held_back=True):
            # Not held against the mail: an hour without network must not fail a day's mails.
            return _again(message, message.attempts, outcome, now + (outcome.after or DEFAULT_PAUSE))
        case RetryLater():
            if attempt >= MAX_ATTEMPTS:
                reason = f"gave up after {attempt} attempts: {outcome.reason}"
                return _ended(MessageState.FAILED, message, attempt, reason, now)
            return _again(
                message, attempt, outcome, now + max(backoff(attempt), outcome.after or timedelta())
            )
        case _:
            assert_never(outcome)


def refused(message: Claimed, reason: str, *, now: datetime) -> Fate:
    """For a message that no mail could be made of: it fails without an attempt."""
    return _ended(MessageState.FAILED, message, message.attempts, reason, now)


def backoff(attempt: int) -> timedelta:
    """How long to wait after the attempt of this number (1, 2, …), give or take a tenth."""
    wait = min(_FIRST_BACKOFF * (1 << (attempt - 1)), _LONGEST_BACKOFF)
    return timedelta(seconds=wait.total_seconds() * random.uniform(1 - _JITTER, 1 + _JITTER))


def _ended(state: MessageState, message: Claimed, attempts: int, reason: str, now: datetime) -> Fate:
    return Fate(
        id=message.id,
        lease_token=message.lease_token,
        state=state,
        attempts=attempts,
        error=_storable(reason),
        finished_at=now,
    )


def _again(message: Claimed, attempts: int, outcome: RetryLater, not_before: datetime) -> Fate:
    return Fate(
        id=message.id,
        lease_token=message.lease_token,
        state=MessageState.QUEUED,
        attempts=attempts,
        not_before=not_before,
        error=_storable(outcome.reason),
    )


def _storable(text: str) -> str:
    return shortened(one_line(text), _REASON_CHARACTERS)
