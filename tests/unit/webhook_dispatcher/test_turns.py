"""How slots are dealt to those that are due."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from mailement_webhook_dispatcher.turns import TROUBLED, Dealt, Slots, deal
from mailement_webhook_dispatcher.workload import Group, Workload
from mailement_webhooks.endpoints import EndpointState
from mailement_webhooks.rules.health import Health, HoldReason
from tests.support.endpoints_at_work import NOW, loaded, workload

_FAILING = Health(consecutive_failures=3)


def _several(count: int, *, cap: int = 10, health: Health | None = None) -> list[Workload]:
    """Each of a brand of its own."""
    return [
        workload(loaded(number, brand=number, health=health), Group(number, cap=1000), cap=cap)
        for number in range(1, count + 1)
    ]


def _slots(free: int, *, troubled: int | None = None, replays: int = 25) -> Slots:
    return Slots(free=free, troubled=free if troubled is None else troubled, replays=replays)


def _deal(due: list[Workload], slots: Slots, *, at: float = 0.0) -> Dealt:
    return deal(due, slots, at=at, now=NOW)


def _rooms(dealt: Dealt) -> dict[int, int]:
    return {turn.endpoint_id: turn.room for turn in dealt.turns}


def test_slots_are_shared_evenly() -> None:
    assert _rooms(_deal(_several(4), _slots(20))) == {1: 5, 2: 5, 3: 5, 4: 5}


def test_what_one_may_not_have_goes_to_the_others() -> None:
    small, *large = _several(3)
    small.limit.limit = 2

    assert _rooms(_deal([small, *large], _slots(16))) == {1: 2, 2: 7, 3: 7}


def test_few_slots_go_to_those_that_stand_first() -> None:
    dealt = _deal(_several(5), _slots(3))

    assert _rooms(dealt) == {1: 1, 2: 1, 3: 1}
    assert dealt.parked == dealt.later == []


def test_what_is_under_way_counts() -> None:
    busy = workload(cap=10, in_flight=7)

    assert _rooms(_deal([busy], _slots(100))) == {1: 3}


def test_a_full_endpoint_waits_for_one_of_its_own_to_end() -> None:
    full = workload(cap=3, in_flight=3)

    assert _deal([full], _slots(100)).parked == [(full, full.id)]


def test_a_new_endpoint_is_ramped_up() -> None:
    assert _rooms(_deal([workload(warm=False)], _slots(100))) == {1: 2}


def test_a_brand_has_a_cap_over_all_its_endpoints() -> None:
    group = Group("brand", cap=12)
    endpoints = [workload(loaded(number), group) for number in (1, 2, 3)]

    assert sum(_rooms(_deal(endpoints, _slots(100))).values()) == 12


def test_an_endpoint_whose_brand_is_full_waits_for_the_brand() -> None:
    group = Group("brand", cap=4)
    workload(loaded(1), group, in_flight=4)
    other = workload(loaded(2), group)

    assert _deal([other], _slots(100)).parked == [(other, "brand")]


def test_leases_of_a_dead_dispatcher_count_until_they_end() -> None:
    endpoint = workload(cap=10)
    endpoint.left.add(8, 5.0)

    assert _rooms(_deal([endpoint], _slots(100), at=4.9)) == {1: 2}
    assert _rooms(_deal([endpoint], _slots(100), at=5.0)) == {1: 10}


def test_who_is_full_of_such_leases_waits_for_their_end() -> None:
    endpoint = workload(cap=10)
    endpoint.left.add(10, 5.0)

    assert _deal([endpoint], _slots(100)).later == [(endpoint, 5.0)]


def test_endpoints_with_a_recent_failure_leave_slots_to_the_others() -> None:
    failing, healthy = workload(loaded(1, health=_FAILING), Group(1, cap=99)), _several(2)[1]

    dealt = _deal([failing, healthy], _slots(20, troubled=4))

    assert _rooms(dealt) == {1: 4, 2: 10}


def test_when_theirs_are_taken_they_wait() -> None:
    failing, healthy = workload(loaded(1, health=_FAILING), Group(1, cap=99)), _several(2)[1]

    dealt = _deal([failing, healthy], _slots(20, troubled=0))

    assert (_rooms(dealt), dealt.parked) == ({2: 10}, [(failing, TROUBLED)])


def test_a_failure_is_recent_for_a_minute_also_if_another_post_succeeded() -> None:
    endpoint = workload()
    endpoint.note_failure(100.0)

    assert [endpoint.is_troubled(at) for at in (159.9, 160.0)] == [True, False]


def test_an_endpoint_that_rests_is_left_in_peace_until_then() -> None:
    resting = Health(hold_until=NOW + timedelta(seconds=30), hold_reason=HoldReason.ASKED_TO_WAIT)
    endpoint = workload(loaded(health=resting))

    assert _deal([endpoint], _slots(100), at=7.0).later == [(endpoint, 37.0)]


def test_behind_the_breakers_rest_one_probe_is_let_through() -> None:
    probing = Health(consecutive_failures=10, breaker_trips=1, hold_until=NOW, hold_reason=HoldReason.BREAKER)
    endpoint = workload(loaded(health=probing))

    assert _rooms(_deal([endpoint], _slots(100))) == {1: 1}


def test_there_is_no_second_probe_before_the_first_is_recorded() -> None:
    probing = Health(consecutive_failures=10, breaker_trips=1, hold_until=NOW, hold_reason=HoldReason.BREAKER)
    endpoint = workload(loaded(health=probing), in_flight=1)
    endpoint.end(replay=False)

    assert _deal([endpoint], _slots(100)).parked == [(endpoint, endpoint.id)]


def test_a_rate_limit_is_kept() -> None:
    endpoint = workload(loaded(rate_per_second=3))

    assert _rooms(_deal([endpoint], _slots(100), at=0.0)) == {1: 3}
    ((_, ready_at),) = _deal([endpoint], _slots(100), at=0.0).later
    assert 0.3 < ready_at < 0.4


def test_an_endpoint_that_is_not_enabled_is_not_posted_to() -> None:
    paused = workload(loaded(state=EndpointState.PAUSED))

    assert _deal([paused], _slots(100)).idle == [paused]


def test_replays_get_a_quarter_of_an_endpoints_room_and_of_the_slots_for_them() -> None:
    several = _several(3, cap=20)

    dealt = _deal(several, _slots(100, replays=7))

    assert [turn.replay_room for turn in dealt.turns] == [5, 2, 0]


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(0, 12), st.booleans()), max_size=30
    ),
    st.integers(0, 60),
    st.integers(0, 30),
)
def test_no_limit_is_ever_exceeded(
    endpoints: list[tuple[int, int, int, bool]], free: int, troubled: int
) -> None:
    groups = {brand: Group(brand, cap=15) for brand in range(1, 5)}
    due = [
        workload(
            loaded(number, brand=brand, health=_FAILING if failing else None),
            groups[brand],
            cap=cap,
            in_flight=min(in_flight, cap),
        )
        for number, (brand, cap, in_flight, failing) in enumerate(endpoints, 1)
    ]

    dealt = _deal(due, _slots(free, troubled=troubled))

    rooms = _rooms(dealt)
    assert sum(rooms.values()) <= free
    assert sum(rooms.get(one.id, 0) for one in due if one.is_troubled(0.0)) <= troubled
    assert all(rooms.get(one.id, 0) <= max(one.room(0.0), 0) for one in due)
    for brand, group in groups.items():
        given_to_brand = sum(rooms.get(one.id, 0) for one in due if one.group.key == brand)
        assert given_to_brand <= max(group.room(0.0), 0)
    assert all(room > 0 for room in rooms.values())
