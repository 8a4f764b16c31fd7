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
    REFUSALS_BELIEVED,
    SCHEDULE,
    is_refusal,
    is_tried_again,
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


def _live(*, jitter: float, refused: bool = False, retry_after: timedelta | None = None) -> list[timedelta]:
    """The moments, from the first try, at which a delivery is tried whose tries all fail, or are refused, at once."""
    moments = [timedelta()]
    while True:
        wait = next_try(
            tries=len(moments),
            refusals=len(moments) if refused else 0,
            trying_for=moments[-1],
            retry_after=retry_after,
            jitter=jitter,
        )
        if wait is None:
            return moments
        moments.append(moments[-1] + wait)


def test_without_jitter_the_waits_are_those_of_the_schedule() -> None:
    moments = _live(jitter=0)

    assert [later - earlier for earlier, later in pairwise(moments)] == list(SCHEDULE)


@given(jitters)
def test_jitter_only_ever_adds_and_at_most_a_fifth(jitter: float) -> None:
    moments = _live(jitter=jitter)

    for tries, wait in enumerate(SCHEDULE, start=1):
        taken = moments[tries] - moments[tries - 1]
        assert wait <= taken <= wait * 1.2


@given(jitters)
def test_the_whole_schedule_fits_into_the_longest_trying(jitter: float) -> None:
    moments = _live(jitter=jitter)

    assert len(moments) == MOST_TRIES
    assert moments[-1] < LONGEST_TRYING


@given(jitter=jitters, retry_after=waits)
def test_a_delivery_s_life_ends_whatever_the_endpoint_asks_for(jitter: float, retry_after: timedelta) -> None:
    moments = _live(jitter=jitter, retry_after=retry_after)

    assert len(moments) <= MOST_TRIES
    assert all(moment < LONGEST_TRYING for moment in moments[:-1])


@given(tries=st.integers(0, MOST_TRIES - 1), jitter=jitters, retry_after=waits)
def test_nothing_is_tried_sooner_than_the_endpoint_asked_or_the_schedule_says(
    tries: int, jitter: float, retry_after: timedelta
) -> None:
    wait = next_try(tries=tries, refusals=0, trying_for=timedelta(), retry_after=retry_after, jitter=jitter)

    assert wait is not None
    assert wait >= max(retry_after, SCHEDULE[max(tries, 1) - 1])


def test_probes_that_fail_spend_no_tries_but_time() -> None:
    def after(trying_for: timedelta) -> timedelta | None:
        return next_try(tries=0, refusals=0, trying_for=trying_for, retry_after=None, jitter=0)

    assert after(LONGEST_TRYING - SECOND) == SCHEDULE[0]
    assert after(LONGEST_TRYING) is None


@pytest.mark.parametrize(
    ("reason", "status", "refusal"),
    [
        (Reason.HTTP_4XX, 404, True),
        (Reason.HTTP_4XX, 410, True),
        (Reason.HTTP_4XX, 408, False),
        (Reason.HTTP_4XX, 425, False),
        (Reason.HTTP_4XX, 429, False),
        (Reason.HTTP_5XX, 500, False),
        (Reason.HTTP_OTHER, 600, True),
        (Reason.REDIRECT, 302, True),
        (Reason.DNS, None, False),
        (Reason.BODY_TIMEOUT, 200, False),
    ],
)
def test_what_says_no_is_a_refusal(reason: Reason, status: int | None, refusal: bool) -> None:
    assert is_refusal(reason, status) is refusal


@pytest.mark.parametrize("reason", [None, *Reason])
def test_once_is_once(reason: Reason | None) -> None:
    assert not is_tried_again(RetryMode.ONCE, reason)


@pytest.mark.parametrize("reason", [None, *Reason])
def test_what_can_never_be_dialled_is_not_tried_again(reason: Reason | None) -> None:
    never = {Reason.BLOCKED_ADDRESS, Reason.BAD_URL}
    assert is_tried_again(RetryMode.SCHEDULE, reason) is (reason not in never)


def test_what_is_refused_from_the_beginning_is_tried_three_times() -> None:
    assert len(_live(jitter=0, refused=True)) == REFUSALS_BELIEVED == 3


def test_refusals_are_believed_only_in_a_row() -> None:
    def after(*, tries: int, refusals: int) -> timedelta | None:
        return next_try(tries=tries, refusals=refusals, trying_for=timedelta(), retry_after=None, jitter=0)

    assert after(tries=6, refusals=1) == SCHEDULE[5]
    assert after(tries=7, refusals=2) == SCHEDULE[6]
    assert after(tries=8, refusals=3) is None
    assert after(tries=MOST_TRIES, refusals=1) is None


@given(tries=st.integers(0, MOST_TRIES), refused=st.booleans())
def test_the_remaining_schedule_is_what_then_happens(tries: int, refused: bool) -> None:
    happened = _live(jitter=0, refused=refused)
    refusals = min(tries, REFUSALS_BELIEVED) if refused else 0

    remaining = remaining_schedule(
        tries=tries,
        # Before the first try nobody knows that it will be refused.
        most=len(happened) if not tries else most_tries(tries=min(tries, len(happened)), refusals=refusals),
        next_at=START + happened[min(tries, len(happened) - 1)],
    )

    assert remaining == tuple(START + moment for moment in happened[tries:])


def test_pauses_after_a_fault_of_ours_grow_and_end() -> None:
    assert pause_after_our_fault(timedelta()) == 30 * SECOND
    assert pause_after_our_fault(2 * HOUR) == 12 * 60 * SECOND
    assert pause_after_our_fault(48 * HOUR) == HOUR
    assert pause_after_our_fault(timedelta(days=7)) is None
