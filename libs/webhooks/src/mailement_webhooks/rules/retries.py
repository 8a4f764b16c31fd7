"""When a delivery that failed is tried again, and when no more."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import accumulate
from operator import add
from typing import Final

from mailement_webhooks.deliveries import Reason
from mailement_webhooks.endpoints import RetryMode

SCHEDULE: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
MOST_TRIES: Final = len(SCHEDULE) + 1
# A refusal is meant, except while a new version of the receiver is being put in place: so it is believed when it has come
# so often without anything else in between.
REFUSALS_BELIEVED: Final = 3
# Only ever added, so that nothing comes sooner than the schedule says: 75 h 42 min become at most 90 h 51 min.
MOST_JITTER: Final = 0.2
# Waiting that the endpoint asked for, and probes, which spend no tries, stretch the schedule up to here.
LONGEST_TRYING: Final = timedelta(hours=96)

_SHORTEST_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(hours=1)
_LONGEST_FAULT: Final = timedelta(days=7)

_NOT_NOW: Final = frozenset({408, 425, 429})
_NEVER: Final = frozenset({Reason.BLOCKED_ADDRESS, Reason.BAD_URL})
_REFUSALS: Final = frozenset({Reason.REDIRECT, Reason.HTTP_4XX, Reason.HTTP_OTHER})


def is_tried_again(mode: RetryMode, reason: Reason | None) -> bool:
    """Whether a failure for this reason may be followed by another try. None: any that can be."""
    return mode is not RetryMode.ONCE and reason not in _NEVER


def is_refusal(reason: Reason, status: int | None) -> bool:
    """Whether the receiver has said that it does not want this.

    408, 425 and 429 mean "not now" and get the whole schedule, as 5xx and broken connections do.
    """
    return reason in _REFUSALS and status not in _NOT_NOW


def most_tries(*, tries: int, refusals: int) -> int:
    """How often a delivery is tried in all, if it goes on failing as it does. `tries`, `refusals`: see `next_try`."""
    return min(MOST_TRIES, tries + REFUSALS_BELIEVED - refusals) if refusals else MOST_TRIES


def next_try(
    *, tries: int, refusals: int, trying_for: timedelta, retry_after: timedelta | None, jitter: float
) -> timedelta | None:
    """How long to wait after a failed try; None: that was the last.

    `tries`: those that count, with the one that has just failed; a probe does not count, nor does an interrupted one.
    `refusals`: how many of them, the last ones in a row, were refusals.
    `trying_for`: since the first attempt, or since the delivery was last released from a
    hold or sent again by hand, because time in which nothing could be tried is not held against it.
    `jitter`: from 0 to 1, drawn by the caller.
    """
    if tries >= most_tries(tries=tries, refusals=refusals) or trying_for >= LONGEST_TRYING:
        return None
    wait = SCHEDULE[min(max(tries, 1), len(SCHEDULE)) - 1] * (1 + MOST_JITTER * jitter)
    return wait if retry_after is None else max(wait, retry_after)


def remaining_schedule(*, tries: int, most: int, next_at: datetime) -> tuple[datetime, ...]:
    """When the tries that are left come at the earliest, if all of them fail at once; `next_at` is the first."""
    if tries >= most:
        return ()
    return tuple(accumulate(SCHEDULE[tries : most - 1], add, initial=next_at))


def pause_after_our_fault(trying_for: timedelta) -> timedelta | None:
    """How long to wait when the fault was ours, which neither the endpoint nor the schedule pays for.

    A tenth of the time that it has lasted, from half a minute to an hour; None after a week.
    """
    if trying_for >= _LONGEST_FAULT:
        return None
    return min(max(trying_for / 10, _SHORTEST_PAUSE), _LONGEST_PAUSE)
