from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_newsletter.rules.warmup import (
    Gate,
    Stage,
    Warmup,
    Week,
    first_stage,
    gate,
    limit_on,
    next_stage,
)

RAMPS = [warmup for warmup in Warmup if warmup is not Warmup.NONE]
GOOD_WEEK = Week(sent=1000)

ramps = st.sampled_from(RAMPS)
weeks = st.builds(
    Week, sent=st.integers(0, 100_000), bounced=st.integers(0, 1000), complained=st.integers(0, 50)
)


def after(
    warmup: Warmup, stage: Stage, *, used: int, idle_days: int = 1, week: Week = GOOD_WEEK
) -> Stage | None:
    return next_stage(warmup, stage, used=used, idle_days=idle_days, week=week)


@pytest.mark.parametrize(
    ("warmup", "limits", "cap", "cap_on"),
    [
        (Warmup.SLOW, [5, 6, 7, 8], 20, 15),
        (Warmup.NORMAL, [5, 7, 9, 11], 40, 18),
        (Warmup.FAST, [7, 10, 13, 16], 50, 15),
        (Warmup.DOMAIN, [50, 70, 98, 138], 1_000_000, 30),
    ],
)
def test_each_ramp_has_its_start_its_step_and_its_cap(
    warmup: Warmup, limits: list[int], cap: int, cap_on: int
) -> None:
    assert [limit_on(warmup, day) for day in range(4)] == limits
    assert limit_on(warmup, cap_on - 1) != cap
    assert limit_on(warmup, cap_on) == limit_on(warmup, 10_000) == cap


def test_a_domain_sends_five_thousand_after_two_weeks() -> None:
    assert limit_on(Warmup.DOMAIN, 14) == 5557


def test_there_is_no_limit_without_a_warmup() -> None:
    assert first_stage(Warmup.NONE) is None
    assert after(Warmup.NONE, Stage(day=0, limit=1), used=1) is None


@pytest.mark.parametrize(("used", "day"), [(0, 3), (6, 3), (7, 4), (13, 4)])
def test_a_day_counts_when_half_of_its_limit_was_used(used: int, day: int) -> None:
    assert after(Warmup.NORMAL, Stage(day=3, limit=13), used=used) == Stage(day=day, limit=5 + 2 * day)


@pytest.mark.parametrize(
    ("week", "verdict"),
    [
        (Week(), Gate.GROW),
        (Week(sent=1000, bounced=20), Gate.GROW),
        (Week(sent=1000, bounced=21), Gate.HOLD),
        (Week(sent=1000, bounced=50), Gate.HOLD),
        (Week(sent=1000, bounced=51), Gate.HALVE),
        (Week(sent=10_000, complained=9), Gate.GROW),
        (Week(sent=10_000, complained=10), Gate.HALVE),
        (Week(sent=10_000, complained=29), Gate.HALVE),
        (Week(sent=10_000, complained=30), Gate.PAUSE),
        (Week(sent=1000, bounced=500, complained=3), Gate.PAUSE),
        (Week(sent=7, bounced=1), Gate.GROW),
        (Week(sent=7, bounced=2), Gate.HALVE),
    ],
)
def test_the_week_decides_what_the_next_day_may_be(week: Week, verdict: Gate) -> None:
    assert gate(week) is verdict


def test_trouble_holds_halves_or_pauses_without_losing_the_day() -> None:
    stage = Stage(day=8, limit=21)

    held = after(Warmup.NORMAL, stage, used=21, week=Week(sent=100, bounced=3))
    halved = after(Warmup.NORMAL, stage, used=21, week=Week(sent=100, bounced=9))
    paused = after(Warmup.NORMAL, stage, used=21, week=Week(sent=100, complained=1))

    assert held == stage
    assert halved == Stage(day=8, limit=10)
    assert paused == Stage(day=8, limit=0)


def test_a_warmup_goes_on_where_it_was_when_the_trouble_is_over() -> None:
    assert after(Warmup.NORMAL, Stage(day=8, limit=0), used=0) == Stage(day=8, limit=21)
    assert after(Warmup.NORMAL, Stage(day=8, limit=10), used=2) == Stage(day=8, limit=21)


def test_who_was_silent_for_a_month_begins_anew() -> None:
    assert after(Warmup.FAST, Stage(day=12, limit=43), used=0, idle_days=29) == Stage(day=12, limit=43)
    assert after(Warmup.FAST, Stage(day=12, limit=43), used=0, idle_days=30) == Stage(day=0, limit=7)


@given(ramps, st.integers(0, 60), st.integers(0, 2_000_000), weeks)
def test_a_day_moves_on_by_one_at_most_and_never_above_its_ramp(
    warmup: Warmup, day: int, used: int, week: Week
) -> None:
    limit = limit_on(warmup, day)
    assert limit is not None
    stage = after(warmup, Stage(day=day, limit=limit), used=used, week=week)

    assert stage is not None
    assert stage.day in (day, day + 1)
    assert stage.limit <= (limit_on(warmup, stage.day) or 0)
