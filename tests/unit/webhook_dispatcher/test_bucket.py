"""The token bucket under a virtual clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_webhook_dispatcher.bucket import TokenBucket

rates = st.floats(0.1, 10_000)
bursts = st.integers(1, 1000)
asks = st.lists(st.tuples(st.floats(0, 100), st.integers(0, 2000)), max_size=60)


def test_it_is_full_at_first() -> None:
    bucket = TokenBucket(rate=1, burst=5, at=100.0)

    assert bucket.take(100.0, 9) == 5
    assert bucket.take(100.0, 1) == 0


def test_it_fills_at_its_rate_and_not_above_its_burst() -> None:
    bucket = TokenBucket(rate=2, burst=5, at=0.0)
    bucket.take(0.0, 5)

    assert bucket.take(1.0, 9) == 2
    assert bucket.take(1000.0, 9) == 5


def test_what_was_not_used_is_put_back() -> None:
    bucket = TokenBucket(rate=1, burst=5, at=0.0)
    bucket.take(0.0, 4)

    bucket.put_back(3)

    assert bucket.take(0.0, 9) == 4


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(rate=1, burst=1, at=10.0)
    bucket.take(10.0, 1)

    assert bucket.take(10.0, 1) == 0
    assert bucket.take(5.0, 1) == 0


@pytest.mark.parametrize("burst", range(1, 50))
def test_an_empty_bucket_takes_no_token_back(burst: int) -> None:
    """Whatever float arithmetic made of the tokens that were granted a moment too early."""
    bucket = TokenBucket(rate=1, burst=burst, at=0.0)
    bucket.take(0.0, burst)
    bucket.take(burst - 1e-4, burst)

    assert bucket.take(burst - 1e-4, 1) == 0


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_never_gives_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError):
        TokenBucket(rate=rate, burst=burst, at=0.0)


@given(rate=rates, burst=bursts, asked=asks)
def test_no_stretch_of_time_sees_more_than_rate_and_burst(
    rate: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    bucket = TokenBucket(rate=rate, burst=burst, at=0.0)
    at, taken = 0.0, 0

    for passing, wanted in asked:
        at += passing
        granted = bucket.take(at, wanted)
        taken += granted
        assert 0 <= granted <= wanted
        assert taken <= burst + rate * at + 1e-3


@given(rate=rates, burst=bursts, passing=st.floats(0, 0.5), start=st.floats(0, 1e7))
def test_a_token_is_there_when_it_was_promised_and_not_long_before(
    rate: float, burst: int, passing: float, start: float
) -> None:
    bucket = TokenBucket(rate=rate, burst=burst, at=start)
    bucket.take(start, burst)

    ready = bucket.ready_at(start + passing / rate)

    assert bucket.take(ready - 0.1 / rate, 1) == 0
    assert bucket.ready_at(ready) == ready
    assert bucket.take(ready, 1) == 1


def test_it_is_ready_now_while_there_are_tokens() -> None:
    assert TokenBucket(rate=1, burst=2, at=0.0).ready_at(7.0) == 7.0
