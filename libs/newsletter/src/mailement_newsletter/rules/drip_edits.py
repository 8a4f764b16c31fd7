"""What an edit makes of the steps that are there: which of the new ones are the old, and where the others go.

A run only goes forward, by position. So a step that stays keeps its place, one that comes in gets a place between its
neighbours, and one that is moved gets a new place as if it had come in there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mailement_newsletter.errors import DripFault, InvalidDrip
from mailement_newsletter.ids import StepId
from mailement_newsletter.rules.drip_definition import Step, kind_of

# Room for a step between any two, twenty times over.
GAP: Final = 1_048_576
_LAST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsEdit:
    """`matched`: for each new step the old one that it is; `stays`: whether that one keeps its place."""

    matched: tuple[StepId | None, ...]
    stays: tuple[bool, ...]
    deleted: tuple[StepId, ...]


def compare(old: Sequence[Step], new: Sequence[Step]) -> StepsEdit:
    """By id, then by label, then by what they do, then by their place. Raises InvalidDrip: an id is not there."""
    matched = _match(old, new)
    order = {step.id: index for index, step in enumerate(old)}
    indexes = [order[step_id] for step_id in matched if step_id is not None]
    staying = {old[index].id for index in _longest_rising(indexes)}
    return StepsEdit(
        matched=tuple(matched),
        stays=tuple(step_id in staying for step_id in matched),
        deleted=tuple(step.id for step in old if step.id is not None and step.id not in set(matched)),
    )


def _match(old: Sequence[Step], new: Sequence[Step]) -> list[StepId | None]:
    free = {step.id: step for step in old if step.id is not None}
    faults = [
        DripFault(f"steps.{number}.id", f"the drip has no step {step.id}")
        for number, step in enumerate(new)
        if step.id is not None and step.id not in free
    ]
    if faults:
        raise InvalidDrip(faults)
    matched: list[StepId | None] = [step.id for step in new]
    for step_id in matched:
        if step_id is not None:
            free.pop(step_id)
    labels = {step.label: step_id for step_id, step in free.items() if step.label is not None}
    for number, step in enumerate(new):
        if matched[number] is None and step.label is not None and step.label in labels:
            matched[number] = labels[step.label]
            del free[labels[step.label]]
    _match_alike(free, new, matched)
    _match_by_place(old, free, new, matched)
    return matched


def _match_alike(free: dict[StepId, Step], new: Sequence[Step], matched: list[StepId | None]) -> None:
    """Steps that do the very same, in order."""
    for number, step in enumerate(new):
        if matched[number] is None:
            found = next(
                (key for key, other in free.items() if other.action == step.action and _may_be(other, step)),
                None,
            )
            if found is not None:
                matched[number] = found
                del free[found]


def _match_by_place(
    old: Sequence[Step], free: dict[StepId, Step], new: Sequence[Step], matched: list[StepId | None]
) -> None:
    """Steps of one kind between the same neighbours: their words have changed."""
    order = [step.id for step in old if step.id is not None]
    before = -1
    for number, step in enumerate(new):
        if (known := matched[number]) is not None:
            before = max(before, order.index(known))
            continue
        # Up to the next step that both have.
        for place in range(before + 1, len(order)):
            other = free.get(order[place])
            if other is None:
                break
            if kind_of(other.action) is kind_of(step.action) and _may_be(other, step):
                matched[number] = order[place]
                del free[order[place]]
                before = place
                break


def _may_be(old: Step, new: Step) -> bool:
    """Two names are two steps."""
    return old.label is None or new.label is None


def _longest_rising(values: Sequence[int]) -> list[int]:
    """The longest subsequence that rises (patience sorting)."""
    tails: list[int] = []
    at: list[int] = []
    previous: list[int] = []
    for index, value in enumerate(values):
        place = bisect_left(tails, value)
        previous.append(at[place - 1] if place else -1)
        tails[place:] = [value] if place == len(tails) else [value, *tails[place + 1 :]]
        at[place:] = [index] if place == len(at) else [index, *at[place + 1 :]]
    rising: list[int] = []
    index = at[-1] if at else -1
    while index >= 0:
        rising.append(values[index])
        index = previous[index]
    return rising[::-1]


def new_positions(count: int) -> list[int]:
    """Of the steps of a new drip."""
    return [number * GAP for number in range(1, count + 1)]


def place(
    order: Sequence[int | None], *, gone: Collection[int], leaving: Collection[int]
) -> list[int] | None:
    """Positions for the steps that have none; None: there is no room.

    `gone`: positions of steps that were deleted before, which stay theirs. `leaving`: of those that this edit deletes; what
    takes their place is put before them, so that nobody who had the old one gets the new one too.
    """
    taken = frozenset({*gone, *leaving})
    placed: list[int] = []
    index = 0
    while index < len(order):
        known = order[index]
        if known is not None:
            placed.append(known)
            index += 1
            continue
        count = next((n for n, known in enumerate(order[index:]) if known is not None), len(order) - index)
        behind = placed[-1] if placed else 0
        ahead = order[index + count] if index + count < len(order) else None
        found = _between(behind, ahead, count, taken, leaving)
        if found is None:
            return None
        placed += found
        index += count
    return placed


def _between(
    behind: int, ahead: int | None, count: int, taken: frozenset[int], leaving: Collection[int]
) -> list[int] | None:
    barrier = min((position for position in leaving if position > behind), default=None)
    if barrier is not None and (ahead is None or barrier < ahead):
        found = _spread(behind, barrier, count, taken)
        if found is not None:
            return found
    if ahead is not None:
        return _spread(behind, ahead, count, taken)
    start = max(behind, max(taken, default=0))
    # Towards the last position they come closer together.
    gap = min(GAP, (_LAST - start) // (16 * count))
    return [start + gap * number for number in range(1, count + 1)] if gap else None


def _spread(behind: int, ahead: int, count: int, taken: frozenset[int]) -> list[int] | None:
    """`count` free positions between the two, as far from each other as may be; None: there are not so many."""
    between = ahead - behind - 1 - sum(1 for position in taken if behind < position < ahead)
    if between < count:
        return None
    found: list[int] = []
    for number in range(1, count + 1):
        # Enough must be left ahead for those that still come; what is taken is stepped over, forward and then back.
        position = max(
            behind + (ahead - behind) * number // (count + 1), (found[-1] if found else behind) + 1
        )
        while position in taken:
            position += 1
        found.append(position)
    return found if found[-1] < ahead else _packed(behind, ahead, count, taken)


def _packed(behind: int, ahead: int, count: int, taken: frozenset[int]) -> list[int]:
    """The last free ones before `ahead`."""
    found: list[int] = []
    position = ahead - 1
    while len(found) < count:
        if position not in taken:
            found.append(position)
        position -= 1
    assert found[-1] > behind
    return found[::-1]


def place_virtually(order: Sequence[int | None]) -> list[float]:
    """As `place`, where only what lies before what matters: a preview writes nothing, so there is always room."""
    placed: list[float] = []
    for index, known in enumerate(order):
        if known is not None:
            placed.append(known)
            continue
        behind = placed[-1] if placed else 0.0
        ahead = next((later for later in order[index:] if later is not None), None)
        placed.append((behind + ahead) / 2 if ahead is not None else behind + GAP)
    return placed


def respaced(positions: Collection[int]) -> dict[int, int]:
    """New positions for all steps of a drip, also for those that were deleted, in the order that they are in."""
    gap = min(GAP, _LAST // (2 * (len(positions) + 1)))
    return {position: number * gap for number, position in enumerate(sorted(positions), start=1)}


def moved_cursor(cursor: int, mapping: Mapping[int, int]) -> int:
    """Where a run stands after `respaced`: between the same two steps, and as close to them as it was.

    `respace` in work_drip_jobs.sql says the same, and a test compares the two.
    """
    behind = max((position for position in mapping if position <= cursor), default=None)
    ahead = min((position for position in mapping if position > cursor), default=None)
    if cursor == 0:
        return 0
    if behind == cursor or ahead is None:
        return mapping[behind] if behind is not None else 0
    return mapping[ahead] - 1
