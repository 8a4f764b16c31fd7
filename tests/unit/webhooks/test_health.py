"""An endpoint's health under a virtual clock: the breaker, rests asked for, warnings, and being disabled."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from mailement_webhooks.rules.health import (
    DISABLED_AFTER,
    FAILURES_THAT_TRIP,
    FIRST_REST,
    LONGEST_REST,
    LONGEST_WAIT_ASKED,
    Admission,
    Fact,
    Health,
    HoldReason,
    after_enabling,
    after_failure,
    after_success,
    disabled_at,
    may_send,
    worth_writing,
)

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MORNING = datetime(2026, 5, 19, 6, 0, tzinfo=UTC)


@dataclass
class Life:
    """One endpoint through time; `told` is all that its owner has heard, with the mark that was passed."""

    at: datetime = MORNING
    health: Health = field(default_factory=Health)
    told: list[tuple[Fact, int]] = field(default_factory=list)

    def admission(self) -> Admission:
        return may_send(self.health, self.at)

    def wait(self, passing: timedelta) -> None:
        self.at += passing

    def wait_for_the_probe(self) -> None:
        assert self.health.hold_until is not None
        self.at = max(self.at, self.health.hold_until)

    def succeed(self) -> None:
        self.health = after_success(self.health, self.at).health

    def fail(
        self,
        times: int = 1,
        *,
        gone: bool = False,
        retry_after: timedelta | None = None,
        jitter: float = 0,
    ) -> None:
        for _ in range(times):
            change = after_failure(self.health, self.at, gone=gone, retry_after=retry_after, jitter=jitter)
            self.health = change.health
            self.told += [(fact, change.health.told) for fact in change.facts]


def test_nothing_known_is_nothing_against_it() -> None:
    assert Life().admission() is Admission.FREE


def test_ten_failures_in_a_row_open_the_breaker() -> None:
    life = Life()

    life.fail(FAILURES_THAT_TRIP - 1)
    assert life.admission() is Admission.FREE

    life.fail()
    assert life.admission() is Admission.HELD
    assert life.health.hold_reason is HoldReason.BREAKER


def test_a_success_among_the_failures_keeps_it_closed() -> None:
    life = Life()

    for _ in range(5):
        life.fail(FAILURES_THAT_TRIP - 1)
        life.succeed()

    assert life.admission() is Admission.FREE
    assert life.told == []


def test_behind_the_rest_one_delivery_is_let_through() -> None:
    life = Life()
    life.fail(FAILURES_THAT_TRIP)

    life.wait(FIRST_REST - SECOND)
    assert life.admission() is Admission.HELD

    life.wait(SECOND)
    assert life.admission() is Admission.PROBE


def test_rests_double_with_every_probe_that_fails_up_to_a_quarter_of_an_hour() -> None:
    life = Life()
    life.fail(FAILURES_THAT_TRIP - 1)

    rests = []
    for _ in range(8):
        life.fail()
        assert life.health.hold_until is not None
        rests.append((life.health.hold_until - life.at) / SECOND)
        life.wait_for_the_probe()

    assert rests == [30, 60, 120, 240, 480, 900, 900, 900]


@given(st.floats(0, 1, exclude_max=True))
def test_jitter_lengthens_a_rest_by_a_tenth_at_most(jitter: float) -> None:
    life = Life()

    life.fail(FAILURES_THAT_TRIP, jitter=jitter)

    assert life.health.hold_until is not None
    assert FIRST_REST <= life.health.hold_until - life.at <= FIRST_REST * 1.1


def test_a_probe_that_succeeds_closes_the_breaker() -> None:
    life = Life()
    life.fail(FAILURES_THAT_TRIP)
    life.wait_for_the_probe()

    life.succeed()

    assert life.admission() is Admission.FREE
    assert life.health == Health(last_success_at=life.at)


def test_stragglers_do_not_lengthen_the_rest() -> None:
    life = Life()
    life.fail(FAILURES_THAT_TRIP)
    until = life.health.hold_until

    life.wait(5 * SECOND)
    life.fail(9)

    assert life.health.hold_until == until
    assert life.health.breaker_trips == 1


def test_a_restart_in_the_middle_of_anything_changes_nothing() -> None:
    life = Life()
    life.fail(FAILURES_THAT_TRIP)
    life.wait(40 * DAY)

    assert life.admission() is Admission.PROBE


def test_who_asks_to_be_left_alone_is() -> None:
    life = Life()

    life.fail(retry_after=2 * MINUTE)
    assert life.admission() is Admission.HELD
    assert life.health.hold_reason is HoldReason.ASKED_TO_WAIT

    life.wait(2 * MINUTE)
    assert life.admission() is Admission.FREE


def test_nobody_is_left_alone_for_more_than_an_hour() -> None:
    life = Life()

    life.fail(retry_after=10 * HOUR)

    assert life.health.hold_until == life.at + LONGEST_WAIT_ASKED


def test_a_success_that_was_under_way_does_not_end_the_rest_that_was_asked_for() -> None:
    life = Life()
    life.fail(retry_after=20 * SECOND)

    life.succeed()
    assert life.admission() is Admission.HELD

    life.wait(20 * SECOND)
    life.succeed()
    assert life.health == Health(last_success_at=life.at)


def test_the_longer_of_two_rests_holds() -> None:
    life = Life()
    life.fail(FAILURES_THAT_TRIP, retry_after=10 * SECOND)
    assert (life.health.hold_until, life.health.hold_reason) == (life.at + FIRST_REST, HoldReason.BREAKER)

    life.fail(retry_after=HOUR)
    assert (life.health.hold_until, life.health.hold_reason) == (life.at + HOUR, HoldReason.ASKED_TO_WAIT)

    life.wait(HOUR)
    assert life.admission() is Admission.PROBE


def test_gone_twice_in_a_row_disables() -> None:
    life = Life()

    life.fail(gone=True)
    life.fail(gone=True)

    assert life.told == [(Fact.DISABLED_GONE, 0)]


def test_gone_once_and_again_much_later_does_not() -> None:
    life = Life()

    for between in (life.succeed, life.fail):
        life.fail(gone=True)
        between()
        life.fail(gone=True)
        life.succeed()

    assert life.told == []


def test_five_days_without_success_disable_and_the_owner_is_warned_before() -> None:
    life = Life()

    while life.at < MORNING + DISABLED_AFTER + HOUR:
        life.fail()
        life.wait(HOUR)

    assert life.told == [
        (Fact.FAILING, 1),
        (Fact.FAILING, 25),
        (Fact.FAILING, 50),
        (Fact.FAILING, 75),
        (Fact.DISABLED_NO_SUCCESS, 75),
    ]
    assert disabled_at(life.health) == MORNING + DISABLED_AFTER


def test_failures_that_come_in_the_wrong_order_around_midnight_make_two_days() -> None:
    life = Life(at=datetime(2026, 5, 20, 0, 0, tzinfo=UTC))
    for step in (-SECOND, SECOND, -SECOND, SECOND, -SECOND):
        life.wait(step)
        life.fail()

    assert life.health.failure_days == 2
    assert life.health.last_failure_day == date(2026, 5, 20)


def test_a_day_is_a_day_of_utc_wherever_its_moments_were_written_down() -> None:
    life = Life(at=datetime(2026, 5, 20, 0, 30, tzinfo=timezone(2 * HOUR)))
    life.fail()
    life.at = datetime(2026, 5, 19, 23, 30, tzinfo=UTC)
    life.fail()

    assert life.health.failure_days == 1


def test_a_brand_with_few_events_is_not_disabled_by_time_alone() -> None:
    life = Life()

    for _ in range(19):
        life.fail()
        life.wait(DAY)

    assert Fact.DISABLED_NO_SUCCESS not in [fact for fact, _ in life.told]


def test_a_bad_hour_long_ago_and_one_now_are_not_enough() -> None:
    life = Life()

    life.fail(500)
    life.wait(DISABLED_AFTER)
    life.fail(500)

    assert Fact.DISABLED_NO_SUCCESS not in [fact for fact, _ in life.told]


def test_the_owner_hears_the_highest_mark_alone_when_several_are_passed_at_once() -> None:
    life = Life()

    life.fail()
    life.wait(3 * DAY)
    life.fail()

    assert life.told == [(Fact.FAILING, 50)]


def test_a_new_spell_is_told_anew() -> None:
    life = Life()

    life.fail(FAILURES_THAT_TRIP)
    life.succeed()
    life.fail(FAILURES_THAT_TRIP)

    assert life.told == [(Fact.FAILING, 1), (Fact.FAILING, 1)]


def test_who_was_switched_on_again_has_another_five_days() -> None:
    life = Life()
    while Fact.DISABLED_NO_SUCCESS not in [fact for fact, _ in life.told]:
        life.fail()
        life.wait(HOUR)

    life.health = after_enabling(life.health)
    life.fail()

    assert life.told[-1] == (Fact.DISABLED_NO_SUCCESS, 75)
    assert life.told.count(life.told[-1]) == 1
    assert life.admission() is Admission.FREE


def test_a_healthy_endpoint_is_written_once_a_minute_however_busy_it_is() -> None:
    life = Life()
    writes = 0

    for _ in range(600):
        before = life.health
        life.succeed()
        writes += worth_writing(before, life.health)
        life.wait(SECOND)

    assert writes == 10


def test_every_failure_and_the_success_behind_it_are_worth_writing() -> None:
    life = Life()
    life.succeed()

    healthy = life.health
    life.fail()
    failing = life.health
    assert worth_writing(healthy, failing)

    life.succeed()
    assert worth_writing(failing, life.health)


deeds = st.lists(
    st.tuples(
        st.sampled_from(["succeed", "fail", "gone", "asked"]),
        st.timedeltas(timedelta(), 6 * HOUR),
        st.floats(0, 1, exclude_max=True),
    ),
    max_size=120,
)


@given(deeds)
def test_whatever_happens_the_rests_are_bounded_and_marks_are_told_once_in_a_spell(
    story: list[tuple[str, timedelta, float]],
) -> None:
    life = Life()
    for deed, passing, jitter in story:
        life.wait(passing)
        if deed == "succeed":
            life.succeed()
            life.told.clear()
        else:
            life.fail(gone=deed == "gone", retry_after=2 * HOUR if deed == "asked" else None, jitter=jitter)

        if life.health.hold_until is not None:
            longest = max(LONGEST_REST * 1.1, LONGEST_WAIT_ASKED)
            assert life.health.hold_until <= life.at + longest
        marks = [mark for fact, mark in life.told if fact is Fact.FAILING]
        assert marks == sorted(set(marks))
        assert (life.health.hold_until is None) == (life.health.hold_reason is None)


@given(deeds)
def test_whatever_happened_a_success_after_the_rest_makes_it_healthy(
    story: list[tuple[str, timedelta, float]],
) -> None:
    life = Life()
    for deed, passing, jitter in story:
        life.wait(passing)
        if deed == "succeed":
            life.succeed()
        else:
            life.fail(retry_after=MINUTE if deed == "asked" else None, jitter=jitter)

    life.wait(2 * HOUR)
    life.succeed()

    assert life.health == Health(last_success_at=life.at)
