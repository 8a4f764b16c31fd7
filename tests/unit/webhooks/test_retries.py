"""When a delivery is tried again: the schedule, its bounds, and what endpoints ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_webhooks.deliveries import Reason
from mailement_webhooks.endpoints import RetryMode
from mailement_webhooks.rules.retries import (
    LONGEST_TRYING,
    MOST_TRIES,
    SCHEDULE,
    most_tries,
    next_try,
    pause_after_our_fault,
    remaining_schedule,
)

START = datetime(2026, 5, 19, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

jitters = st.floats(0, 1, exclude_max=True)
waits = st.timedeltas(timedelta(), timedelta(days=10))


def _live(*, most: int, jitter: float, retry_after: timedelta | None = None) -> list[timedelta]:
    """The moments, from the first try, at which a delivery is tried whose tries all fail at once."""
    moments = [timedelta()]
    while True:
        wait = next_try(
            tries=len(moments), most=most, trying_for=moments[-1], retry_after=retry_after, jitter=jitter
        )
        if wait is None:
            return moments
        moments.append(moments[-1] + wait)


def test_without_jitter_the_waits_are_those_of_the_schedule() -> None:
    moments = _live(most=MOST_TRIES, jitter=0)

    assert [later - earlier for earlier, later in pairwise(moments)] == list(SCHEDULE)


@given(jitters)
def test_jitter_only_ever_adds_and_at_most_a_fifth(jitter: float) -> None:
    moments = _live(most=MOST_TRIES, jitter=jitter)

    for tries, wait in enumerate(SCHEDULE, start=1):
        taken = moments[tries] - moments[tries - 1]
        assert wait <= taken <= wait * 1.2


@given(jitters)
def test_the_whole_schedule_fits_into_the_longest_trying(jitter: float) -> None:
    moments = _live(most=MOST_TRIES, jitter=jitter)

    assert len(moments) == MOST_TRIES
    assert moments[-1] < LONGEST_TRYING


@given(jitter=jitters, retry_after=waits)
def test_a_delivery_s_life_ends_whatever_the_endpoint_asks_for(jitter: float, retry_after: timedelta) -> None:
    moments = _live(most=MOST_TRIES, jitter=jitter, retry_after=retry_after)

    assert len(moments) <= MOST_TRIES
    assert all(moment < LONGEST_TRYING for moment in moments[:-1])


@given(tries=st.integers(0, MOST_TRIES - 1), jitter=jitters, retry_after=waits)
def test_nothing_is_tried_sooner_than_the_endpoint_asked_or_the_schedule_says(
    tries: int, jitter: float, retry_after: timedelta
) -> None:
    wait = next_try(
        tries=tries, most=MOST_TRIES, trying_for=timedelta(), retry_after=retry_after, jitter=jitter
    )

    assert wait is not None
    assert wait >= max(retry_after, SCHEDULE[max(tries, 1) - 1])


def test_probes_that_fail_spend_no_tries_but_time() -> None:
    def after(trying_for: timedelta) -> timedelta | None:
        return next_try(tries=0, most=MOST_TRIES, trying_for=trying_for, retry_after=None, jitter=0)

    assert after(LONGEST_TRYING - SECOND) == SCHEDULE[0]
    assert after(LONGEST_TRYING) is None


@pytest.mark.parametrize(
    ("reason", "status", "tries"),
    [
        (Reason.HTTP_4XX, 404, 3),
        (Reason.HTTP_4XX, 410, 3),
        (Reason.HTTP_4XX, 408, MOST_TRIES),
        (Reason.HTTP_4XX, 425, MOST_TRIES),
        (Reason.HTTP_4XX, 429, MOST_TRIES),
        (Reason.HTTP_5XX, 500, MOST_TRIES),
        (Reason.HTTP_OTHER, 600, 3),
        (Reason.REDIRECT, 302, 3),
        (Reason.DNS, None, MOST_TRIES),
        (Reason.TLS, None, MOST_TRIES),
        (Reason.BODY_TIMEOUT, 200, MOST_TRIES),
        (Reason.BLOCKED_ADDRESS, None, 1),
        (Reason.BAD_URL, None, 1),
        (None, None, MOST_TRIES),
    ],
)
def test_how_often_a_delivery_is_tried(reason: Reason | None, status: int | None, tries: int) -> None:
    assert most_tries(RetryMode.SCHEDULE, reason, status) == tries


@pytest.mark.parametrize("reason", [None, *Reason])
def test_once_is_once(reason: Reason | None) -> None:
    assert most_tries(RetryMode.ONCE, reason, None) == 1


@given(tries=st.integers(0, MOST_TRIES), most=st.sampled_from([1, 3, MOST_TRIES]))
def test_the_remaining_schedule_is_what_then_happens(tries: int, most: int) -> None:
    happened = _live(most=most, jitter=0)

    remaining = remaining_schedule(
        tries=tries, most=most, next_at=START + happened[min(tries, len(happened) - 1)]
    )

    assert remaining == tuple(START + moment for moment in happened[tries:])


def test_pauses_after_a_fault_of_ours_grow_and_end() -> None:
    assert pause_after_our_fault(timedelta()) == 30 * SECOND
    assert pause_after_our_fault(2 * HOUR) == 12 * 60 * SECOND
    assert pause_after_our_fault(48 * HOUR) == HOUR
    assert pause_after_our_fault(timedelta(days=7)) is None
