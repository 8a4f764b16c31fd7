from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_newsletter.errors import InvalidDrip
from mailement_newsletter.ids import StepId
from mailement_newsletter.rules.drip_definition import Action, Delay, Send, Step
from mailement_newsletter.rules.drip_edits import (
    GAP,
    StepsEdit,
    compare,
    moved_cursor,
    new_positions,
    place,
    place_virtually,
    respaced,
)


def _step(subject: str | None, *, label: str | None = None, id: int | None = None) -> Step:  # noqa: A002
    action: Action = Delay() if subject is None else Send(subject=subject, text="Hello.")
    return Step(action=action, label=label, id=None if id is None else StepId(id), delay=timedelta(hours=1))


OLD = [_step("a", label="a", id=1), _step("b", id=2), _step("c", id=3), _step(None, id=4)]


def _compared(*new: Step) -> StepsEdit:
    return compare(OLD, new)


def test_the_same_steps_stay_where_they_are() -> None:
    edit = _compared(*OLD)
    assert (edit.matched, edit.stays, edit.deleted) == ((1, 2, 3, 4), (True,) * 4, ())


def test_steps_are_known_by_their_label() -> None:
    assert _compared(_step("other words", label="a")).matched == (1,)


def test_steps_without_a_name_are_known_by_what_they_do() -> None:
    edit = _compared(_step("a", label="a"), _step("c"), _step(None))
    assert (edit.matched, edit.deleted) == ((1, 3, 4), (2,))


def test_steps_whose_words_changed_are_known_by_their_place() -> None:
    edit = _compared(_step("a", label="a"), _step("B"), _step("C"), _step(None))
    assert edit.matched == (1, 2, 3, 4)


def test_a_step_of_another_kind_in_the_place_is_a_new_one() -> None:
    edit = _compared(_step("a", label="a"), _step(None), _step("c"), _step(None))
    assert edit.deleted == (2,)


def test_a_step_can_get_a_label_and_lose_it() -> None:
    edit = _compared(_step("a"), _step("b", label="second"), _step("c"), _step(None))
    assert edit.matched == (1, 2, 3, 4)


def test_another_label_is_another_step() -> None:
    edit = _compared(_step("a", label="z"), _step("b"), _step("c"), _step(None))
    assert (edit.matched, edit.deleted) == ((None, 2, 3, 4), (1,))


def test_an_id_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidDrip, match=r"steps\.1\.id: the drip has no step 9"):
        _compared(_step("a"), _step("b", id=9))


def test_of_steps_in_another_order_as_few_as_possible_move() -> None:
    edit = _compared(OLD[1], OLD[2], OLD[0], OLD[3])
    assert edit.stays == (True, True, False, True)


def test_a_new_step_is_put_between_its_neighbours() -> None:
    assert place([GAP, None, 2 * GAP], gone=(), leaving=()) == [GAP, GAP * 3 // 2, 2 * GAP]


def test_a_step_at_the_end_lies_behind_all_that_ever_was() -> None:
    assert place([GAP, None], gone=(5 * GAP,), leaving=()) == [GAP, 6 * GAP]


def test_what_takes_the_place_of_a_step_lies_before_it() -> None:
    placed = place([GAP, None, 3 * GAP], gone=(), leaving=(2 * GAP,))
    assert placed is not None
    assert placed[1] < 2 * GAP


def test_towards_the_last_position_steps_come_closer_together() -> None:
    order: list[int | None] = [2**31 - 2 * GAP]
    for _ in range(100):
        placed = place([*order, None], gone=(), leaving=())
        assert placed is not None
        order = [*placed]
    assert order[-1] is not None
    assert order[-1] < 2**31


def test_without_room_there_is_no_place() -> None:
    assert place([7, None, 8], gone=(), leaving=()) is None
    assert place([7, None, 9], gone=(8,), leaving=()) is None
    assert place([2**31 - 5, None], gone=(), leaving=()) is None


_POSITIONS = st.sets(st.integers(1, 40), min_size=1, max_size=20)


@given(_POSITIONS, st.data())
def test_places_rise_and_nobody_else_has_them(known: set[int], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.sampled_from(sorted(known))))
    leaving = data.draw(st.sets(st.sampled_from(sorted(known)))) - gone
    order: list[int | None] = []
    for position in sorted(known - gone - leaving):
        order += [None] * data.draw(st.integers(0, 3))
        order.append(position)
    order += [None] * data.draw(st.integers(0, 3))
    placed = place(order, gone=gone, leaving=leaving)
    if placed is not None:
        assert placed == sorted(set(placed))
        assert all(known is None or known == got for known, got in zip(order, placed, strict=True))
        assert not set(placed) & (gone | leaving)
    virtual = place_virtually(order)
    assert virtual == sorted(set(virtual))


@given(_POSITIONS, st.integers(0, 45))
def test_after_respacing_everybody_stands_between_the_same_steps(known: set[int], cursor: int) -> None:
    mapping = respaced(known)
    moved = moved_cursor(cursor, mapping)
    assert {old for old in known if old > cursor} == {old for old in known if mapping[old] > moved}
    assert (cursor in known) == (moved in mapping.values()) or cursor == 0 or cursor > max(known)


def test_after_respacing_there_is_room_again() -> None:
    mapping = respaced(range(1, 1001))
    assert place([mapping[7], None, mapping[8]], gone=(), leaving=()) is not None
    assert max(mapping.values()) < 2**31


def test_a_new_drip_has_room_between_its_steps() -> None:
    assert new_positions(3) == [GAP, 2 * GAP, 3 * GAP]
    assert max(new_positions(200)) < 2**31
