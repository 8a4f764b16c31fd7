"""The adaptive limit, round by round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_webhook_dispatcher.concurrency import AdaptiveLimit


def _round(limit: AdaptiveLimit) -> int:
    """All posts that may be under way succeed; what the limit is then."""
    for _ in range(limit.limit):
        limit.succeeded()
    return limit.limit


def test_it_doubles_with_every_round_up_to_the_cap() -> None:
    limit = AdaptiveLimit(cap=10)

    assert [limit.limit, *(_round(limit) for _ in range(4))] == [2, 4, 8, 10, 10]


def test_a_loss_halves_it_and_from_then_it_grows_by_one_a_round() -> None:
    limit = AdaptiveLimit(cap=10)
    for _ in range(3):
        _round(limit)

    limit.lost(began_at=1.0, at=2.0)

    assert [limit.limit, *(_round(limit) for _ in range(6))] == [5, 6, 7, 8, 9, 10, 10]


def test_the_losses_of_one_round_are_one_cut() -> None:
    limit = AdaptiveLimit(cap=8)
    for _ in range(2):
        _round(limit)

    for _ in range(8):
        limit.lost(began_at=1.0, at=6.0)
    assert limit.limit == 4

    limit.lost(began_at=6.0, at=11.0)
    assert limit.limit == 2


def test_successes_from_before_a_loss_do_not_count_after_it() -> None:
    limit = AdaptiveLimit(cap=8)
    _round(limit)
    for _ in range(3):
        limit.succeeded()

    limit.lost(began_at=1.0, at=2.0)
    limit.succeeded()

    assert limit.limit == 2


def test_one_post_is_always_allowed() -> None:
    limit = AdaptiveLimit(cap=10)

    for second in range(10):
        limit.lost(began_at=second, at=second + 1)

    assert limit.limit == 1


def test_a_restart_forgets_everything() -> None:
    limit = AdaptiveLimit(cap=10)
    limit.lost(began_at=1.0, at=2.0)

    limit.restart()

    assert [limit.limit, _round(limit), _round(limit)] == [2, 4, 8]


def test_a_lower_cap_holds_at_once_and_a_higher_one_is_grown_into() -> None:
    limit = AdaptiveLimit(cap=10)
    for _ in range(3):
        _round(limit)

    limit.recap(3)
    assert limit.limit == 3

    limit.recap(20)
    assert [limit.limit, _round(limit)] == [3, 6]


def test_a_cap_of_one_starts_at_one() -> None:
    assert AdaptiveLimit(cap=1).limit == 1


def test_a_cap_of_none_at_all_is_refused() -> None:
    with pytest.raises(ValueError):
        AdaptiveLimit(cap=0)


@given(cap=st.integers(1, 1000), answers=st.lists(st.booleans(), max_size=300))
def test_whatever_comes_it_stays_between_one_and_the_cap(cap: int, answers: list[bool]) -> None:
    limit = AdaptiveLimit(cap=cap)

    for second, success in enumerate(answers):
        if success:
            limit.succeeded()
        else:
            limit.lost(began_at=second, at=second + 1)
        assert 1 <= limit.limit <= cap


@given(st.integers(2, 200))
def test_an_endpoint_that_bears_so_many_is_found_and_kept_near(capacity: int) -> None:
    limit = AdaptiveLimit(cap=1000)
    seen = []

    for second in range(4 * capacity):
        if limit.limit > capacity:
            limit.lost(began_at=second, at=second + 1)
        else:
            _round(limit)
        seen.append(limit.limit)

    settled = seen[2 * capacity :]
    assert min(settled) >= capacity // 2
    assert max(settled) <= capacity + 1
