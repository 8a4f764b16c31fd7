"""What is due, to the dispatcher's knowledge."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailement_webhook_dispatcher.agenda import Agenda
from mailement_webhooks.ids import EndpointId

ONE, TWO, THREE = EndpointId(1), EndpointId(2), EndpointId(3)


def test_those_that_are_due_stand_in_the_order_in_which_they_came() -> None:
    agenda = Agenda()
    for endpoint in (TWO, ONE, THREE, ONE):
        agenda.enter(endpoint)

    assert agenda.first(2) == [TWO, ONE]
    assert agenda.due == 3


def test_who_had_a_turn_stands_at_the_end() -> None:
    agenda = Agenda()
    agenda.enter(ONE)
    agenda.enter(TWO)
    agenda.forget(ONE)
    agenda.enter(ONE)

    assert agenda.first(9) == [TWO, ONE]


def test_what_is_due_later_is_due_when_its_moment_has_come() -> None:
    agenda = Agenda()
    agenda.enter_at(ONE, 10.0)
    agenda.turn_to(9.9)
    assert (agenda.due, agenda.next_moment()) == (0, 10.0)

    agenda.turn_to(10.0)

    assert (agenda.first(9), agenda.next_moment()) == ([ONE], None)


def test_the_earlier_of_two_moments_counts() -> None:
    agenda = Agenda()
    agenda.enter_at(ONE, 10.0)
    agenda.enter_at(ONE, 5.0)
    agenda.enter_at(ONE, 7.0)

    assert agenda.next_moment() == 5.0
    agenda.turn_to(5.0)
    agenda.forget(ONE)
    agenda.turn_to(20.0)
    assert agenda.due == 0


def test_what_is_due_now_is_not_put_off() -> None:
    agenda = Agenda()
    agenda.enter(ONE)
    agenda.enter_at(ONE, 5.0)

    assert (agenda.first(9), agenda.next_moment()) == ([ONE], None)


def test_what_is_parked_waits_for_its_release_alone() -> None:
    agenda = Agenda()
    agenda.enter(ONE)
    agenda.park(ONE, "room")
    agenda.enter(ONE)
    agenda.enter_at(ONE, 1.0)
    agenda.turn_to(2.0)
    assert (agenda.due, agenda.parked("room")) == (0, 1)

    assert agenda.release("room")
    assert not agenda.release("room")

    assert agenda.first(9) == [ONE]


def test_of_many_that_are_parked_those_are_released_first_that_wait_longest() -> None:
    agenda = Agenda()
    for endpoint in (TWO, THREE, ONE):
        agenda.park(endpoint, "room")

    agenda.release("room", 2)

    assert agenda.first(9) == [TWO, THREE]
    assert agenda.parked("room") == 1


def test_what_is_forgotten_is_nowhere() -> None:
    agenda = Agenda()
    agenda.enter(ONE)
    agenda.enter_at(TWO, 1.0)
    agenda.park(THREE, "room")
    for endpoint in (ONE, TWO, THREE):
        agenda.forget(endpoint)

    agenda.turn_to(2.0)
    agenda.release("room")

    assert not any(endpoint in agenda for endpoint in (ONE, TWO, THREE))
    assert (agenda.due, agenda.next_moment()) == (0, None)


_ENDPOINTS = st.integers(1, 5).map(EndpointId)
_DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), _ENDPOINTS, st.just(0)),
        st.tuples(st.just("enter_at"), _ENDPOINTS, st.integers(0, 20)),
        st.tuples(st.just("park"), _ENDPOINTS, st.integers(0, 2)),
        st.tuples(st.just("release"), st.just(EndpointId(1)), st.integers(0, 2)),
        st.tuples(st.just("turn_to"), st.just(EndpointId(1)), st.integers(0, 20)),
    )
)


@given(_DEEDS)
def test_nothing_that_was_entered_is_lost(deeds: list[tuple[str, EndpointId, int]]) -> None:
    agenda, entered = Agenda(), set()
    for deed, endpoint, number in deeds:
        match deed:
            case "enter":
                agenda.enter(endpoint)
            case "enter_at":
                agenda.enter_at(endpoint, number)
            case "park":
                agenda.park(endpoint, number)
            case "release":
                agenda.release(number)
                continue
            case _:
                agenda.turn_to(number)
                continue
        entered.add(endpoint)

    for key in range(3):
        agenda.release(key)
    agenda.turn_to(20)

    assert set(agenda.first(99)) == entered


def test_what_is_put_off_again_and_again_takes_no_more_room() -> None:
    agenda = Agenda()

    for step in range(10_000):
        agenda.forget(ONE)
        agenda.enter_at(ONE, 900 - step / 1000)

    assert agenda.size < 1_000
