"""Fair turns: an urgent mail before the others, each brand as much as the next, and within a brand each lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeVar

from mailement_common.ids import BrandId
from mailement_newsletter.rules.senders import MailKind

KeyT = TypeVar("KeyT")

# The priority of answers to what one person did.
URGENT: Final = 0

_MOST_REMEMBERED: Final = 1_000
_FIRST: Final = BrandId(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A row of mails that wait for one another: those of one drip or campaign (`id`) of a brand.

    The lowest `priority` goes first.
    """

    priority: int
    brand_id: BrandId
    kind: MailKind
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """`due` mails of a lane could go now. `has_more`: there may be more of them, which were not counted."""

    lane: Lane
    due: int
    has_more: bool


def deal(
    waiting: Sequence[Waiting], room: int, *, most: Mapping[BrandId, int] = MappingProxyType({})
) -> dict[Lane, int]:
    """How many mails of each lane go next, `room` in all; lanes that get none are left out. `most`: of
    a brand, not counting what is urgent.

    Priorities are served in turn; one that may have more than was counted leaves nothing to the next. Within a priority
    the order of `waiting` is the order in which what cannot be divided is given out.
    """
    dealt: dict[Lane, int] = {}
    left = dict(most)
    for priority in sorted({each.lane.priority for each in waiting}):
        level = [each for each in waiting if each.lane.priority == priority and each.due]
        given = _deal_level(level, room - sum(dealt.values()), {} if priority == URGENT else left)
        dealt.update(given)
        for lane, mails in given.items():
            left[lane.brand_id] = left.get(lane.brand_id, room) - mails
    return {lane: mails for lane, mails in dealt.items() if mails}


@dataclass(slots=True)
class Progress:
    """How far round it is: the next walk begins behind the brand `after`, and within a brand behind `lanes_after`."""

    most_brands: int
    most_lanes: int
    after: BrandId = _FIRST
    lanes_after: dict[BrandId, Lane] = field(default_factory=dict)
    _idle: set[BrandId] = field(default_factory=set)

    def advance(
        self, walked: Sequence[Waiting], *, passed: AbstractSet[Lane], dealt: Mapping[Lane, int]
    ) -> bool:
        """Notes what a walk came past. True: it was cut short and nothing was found yet, so walk on.

        `passed`: lanes that could not have been served, whatever their turn.
        """
        hungry = {each.lane for each in walked if each.due and each.lane not in passed}
        for lanes in _by(walked, lambda lane: (lane.priority, lane.brand_id)):
            self._note_lanes(lanes, hungry=hungry, dealt=dealt)
        stops = [
            stop
            for level in _by(walked, lambda lane: lane.priority)
            if (stop := self._stop(level, hungry, dealt))
        ]
        if stops:
            # Nobody is left out on any level: the walk that came least far decides.
            self.after = min(stops, key=lambda brand: (brand <= self.after, brand))
        return self._goes_on(walked, cut_short=bool(stops), found=bool(dealt))

    def _note_lanes(
        self, lanes: Sequence[Lane], *, hungry: AbstractSet[Lane], dealt: Mapping[Lane, int]
    ) -> None:
        brand = lanes[0].brand_id
        if len(self.lanes_after) > _MOST_REMEMBERED:
            self.lanes_after.clear()
        missed = next((n for n, lane in enumerate(lanes) if lane in hungry and lane not in dealt), None)
        if missed is not None and missed > 0:
            self.lanes_after[brand] = lanes[missed - 1]
        elif missed is None and len(lanes) >= self.most_lanes:
            self.lanes_after[brand] = lanes[-1]
        elif missed is None:
            self.lanes_after.pop(brand, None)

    def _stop(
        self, level: Sequence[Lane], hungry: AbstractSet[Lane], dealt: Mapping[Lane, int]
    ) -> BrandId | None:
        """The last brand that had its turn, if others still wait for theirs."""
        brands = list(dict.fromkeys(lane.brand_id for lane in level))
        served = {lane.brand_id for lane in dealt}
        waits = {lane.brand_id for lane in hungry} - served
        missed = next((n for n, brand in enumerate(brands) if brand in waits), None)
        if missed is not None and missed > 0:
            return brands[missed - 1]
        return brands[-1] if missed is None and len(brands) >= self.most_brands else None

    def _goes_on(self, walked: Sequence[Waiting], *, cut_short: bool, found: bool) -> bool:
        brands = {each.lane.brand_id for each in walked}
        if found or not cut_short or brands <= self._idle:
            self._idle.clear()
            return False
        self._idle |= brands
        return True


def _by(walked: Sequence[Waiting], key: Callable[[Lane], object]) -> list[list[Lane]]:
    groups: dict[object, list[Lane]] = {}
    for each in walked:
        groups.setdefault(key(each.lane), []).append(each.lane)
    return list(groups.values())


def _deal_level(level: Sequence[Waiting], room: int, most: Mapping[BrandId, int]) -> dict[Lane, int]:
    by_brand: dict[BrandId, list[Waiting]] = {}
    for each in level:
        by_brand.setdefault(each.lane.brand_id, []).append(each)
    wishes = {brand: min(_wish(lanes, room), most.get(brand, room)) for brand, lanes in by_brand.items()}
    shares = _shares(wishes, room)
    dealt: dict[Lane, int] = {}
    for brand, lanes in by_brand.items():
        dealt.update(_shares({each.lane: _wish([each], room) for each in lanes}, shares[brand]))
    return dealt


def _wish(lanes: Sequence[Waiting], room: int) -> int:
    return room if any(each.has_more for each in lanes) else sum(each.due for each in lanes)


def _shares(wishes: Mapping[KeyT, int], room: int) -> dict[KeyT, int]:
    """Nobody more than he wishes, and nobody less than another who wishes as much; the first get what is left over."""
    shares = dict.fromkeys(wishes, 0)
    hungry = [key for key, wish in wishes.items() if wish > 0]
    while room > 0 and hungry:
        portion, left_over = divmod(room, len(hungry))
        for turn, key in enumerate(hungry):
            given = min(portion + (turn < left_over), wishes[key] - shares[key])
            shares[key] += given
            room -= given
        hungry = [key for key in hungry if shares[key] < wishes[key]]
    return shares
