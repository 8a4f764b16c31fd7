from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailement_common.ids import BrandId
from mailement_newsletter.rules.lanes import Lane, Progress, Waiting, deal
from mailement_newsletter.rules.senders import MailKind


def lane(brand: int = 1, number: int = 1, *, priority: int = 1) -> Lane:
    return Lane(priority=priority, brand_id=BrandId(brand), kind=MailKind.DRIP, id=number)


def waits(of: Lane, due: int, *, more: bool = False) -> Waiting:
    return Waiting(lane=of, due=due, has_more=more)


def test_a_single_mail_has_its_place_beside_any_backlog() -> None:
    assert deal([waits(lane(1), 64, more=True), waits(lane(2), 1)], 64) == {lane(1): 63, lane(2): 1}


def test_brands_get_the_same_however_many_lanes_they_have() -> None:
    crowd = [waits(lane(1, number), 100, more=True) for number in range(9)]
    dealt = deal([*crowd, waits(lane(2), 100, more=True)], 60)
    assert dealt[lane(2)] == 30
    assert sum(mails for each, mails in dealt.items() if each.brand_id == 1) == 30


def test_lanes_of_a_brand_get_the_same() -> None:
    dealt = deal(
        [waits(lane(1, 1), 100, more=True), waits(lane(1, 2), 5), waits(lane(1, 3), 100, more=True)], 45
    )
    assert dealt == {lane(1, 1): 20, lane(1, 2): 5, lane(1, 3): 20}


def test_the_urgent_go_first_and_leave_the_rest_to_the_others() -> None:
    urgent, other = lane(priority=0), lane()
    assert deal([waits(urgent, 10), waits(other, 50, more=True)], 30) == {urgent: 10, other: 20}
    assert deal([waits(urgent, 30, more=True), waits(other, 50)], 30) == {urgent: 30}


def test_a_brand_gets_no_more_than_its_share_but_for_what_is_urgent() -> None:
    waiting = [
        waits(lane(1, priority=0), 2),
        waits(lane(1, 1), 50, more=True),
        waits(lane(1, 2), 50, more=True),
        waits(lane(2), 50, more=True),
    ]
    dealt = deal(waiting, 40, most={BrandId(1): 4, BrandId(2): 30})
    assert dealt == {lane(1, priority=0): 2, lane(1, 1): 1, lane(1, 2): 1, lane(2): 30}


def test_what_cannot_be_divided_goes_to_the_first_in_turn() -> None:
    assert deal([waits(lane(brand), 9) for brand in (4, 2, 7)], 2) == {lane(4): 1, lane(2): 1}


@given(
    st.lists(
        st.builds(
            waits,
            st.builds(lane, st.integers(1, 4), st.integers(1, 4), priority=st.integers(0, 2)),
            st.integers(0, 50),
            more=st.booleans(),
        ),
        unique_by=lambda each: each.lane,
    ),
    st.integers(0, 100),
)
def test_no_more_is_dealt_than_there_is_room_and_none_is_left_while_somebody_waits(
    waiting: list[Waiting], room: int
) -> None:
    dealt = deal(waiting, room)
    assert sum(dealt.values()) <= room
    for each in waiting:
        if not each.has_more:
            assert dealt.get(each.lane, 0) <= each.due
    if sum(dealt.values()) < room:
        assert all(dealt.get(each.lane, 0) == each.due for each in waiting)


def progress() -> Progress:
    return Progress(most_brands=3, most_lanes=2)


def test_the_next_walk_begins_behind_the_last_brand_that_had_its_turn() -> None:
    going = progress()
    walked = [waits(lane(brand), 9) for brand in (5, 6, 7)]
    assert going.advance(walked, passed=set(), dealt={lane(5): 1, lane(6): 1}) is False
    assert going.after == 6


def test_a_walk_that_was_cut_short_goes_on_where_it_ended() -> None:
    going = progress()
    walked = [waits(lane(brand), 1) for brand in (5, 6, 7)]
    going.advance(walked, passed=set(), dealt={each.lane: 1 for each in walked})
    assert going.after == 7


def test_a_brand_whose_way_is_closed_is_passed_by() -> None:
    going = progress()
    walked = [waits(lane(brand), 9) for brand in (5, 6)]
    going.advance(walked, passed={lane(6)}, dealt={lane(5): 1})
    assert going.after == 0


def test_nothing_due_among_many_means_to_walk_on_until_the_round_is_complete() -> None:
    going = progress()
    assert going.advance([waits(lane(brand), 0) for brand in (1, 2, 3)], passed=set(), dealt={}) is True
    assert going.after == 3
    assert going.advance([waits(lane(brand), 0) for brand in (4, 5, 1)], passed=set(), dealt={}) is True
    assert going.advance([waits(lane(brand), 0) for brand in (2, 3, 4)], passed=set(), dealt={}) is False


def test_within_a_brand_the_next_walk_begins_behind_the_last_lane_that_had_its_turn() -> None:
    going = progress()
    walked = [waits(lane(1, 1), 9), waits(lane(1, 2), 9)]
    going.advance(walked, passed=set(), dealt={lane(1, 1): 1})
    assert going.lanes_after == {1: lane(1, 1)}
    going.advance(walked[:1], passed=set(), dealt={lane(1, 1): 1})
    assert going.lanes_after == {}


def test_a_brand_of_many_lanes_goes_on_where_the_walk_ended() -> None:
    going = progress()
    walked = [waits(lane(1, 1), 1), waits(lane(1, 2), 1)]
    going.advance(walked, passed=set(), dealt={lane(1, 1): 1, lane(1, 2): 1})
    assert going.lanes_after == {1: lane(1, 2)}
