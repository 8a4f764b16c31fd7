"""Whose turn it is, and for how much: decided here alone, from what is due and what is under way."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mailement_webhook_dispatcher.workload import Workload
from mailement_webhooks.endpoints import EndpointState
from mailement_webhooks.rules.health import Admission, may_send
from mailement_webhooks.usecases.claim_deliveries import Turn

# What waits for a place among the slots that endpoints with a recent failure may have.
TROUBLED: Final = "troubled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """`troubled`: of the free ones, those that endpoints with a recent failure may have; `replays` likewise."""

    free: int
    troubled: int
    replays: int


@dataclass(slots=True)
class Dealt:
    """What becomes of each endpoint that was looked at; who is in none of these found no slot and stays due."""

    turns: list[Turn] = field(default_factory=list)
    # Until the key is released: see `Agenda.park`.
    parked: list[tuple[Workload, Hashable]] = field(default_factory=list)
    later: list[tuple[Workload, float]] = field(default_factory=list)
    idle: list[Workload] = field(default_factory=list)


def deal(due: Sequence[Workload], slots: Slots, *, at: float, now: datetime) -> Dealt:
    """Shares the free slots evenly among those that are due, in their order; nobody gets more than may be sent to it.

    `at` is the loop's time, `now` the clock's.
    """
    dealt = Dealt()
    hands = _Hands(slots, at)
    for workload in due:
        if hands.free <= 0:
            break
        _seat(workload, hands, dealt, at=at, now=now)
    hands.share_out()
    replays = slots.replays
    # Of the slots for replays, nobody gets one for nothing as long as somebody waits for it.
    for workload, count in sorted(hands.given.items(), key=lambda given: not given[0].replays_wait):
        granted = count if workload.bucket is None else workload.bucket.take(at, count)
        replay_room = max(min(granted, workload.replay_room(), replays), 0)
        replays -= replay_room
        dealt.turns.append(Turn(endpoint_id=workload.id, room=granted, replay_room=replay_room))
    return dealt


class _Hands:
    """Slots on their way from those that are free to those that are due."""

    def __init__(self, slots: Slots, at: float) -> None:
        self.free = slots.free
        self.troubled_free = slots.troubled
        self.given: dict[Workload, int] = {}
        self._at = at
        self._most: dict[Workload, int] = {}
        self._groups: dict[Hashable, int] = {}
        self._troubled: set[Workload] = set()

    def group_room(self, workload: Workload) -> int:
        group = workload.group
        return group.room(self._at) - self._groups.get(group.key, 0)

    def seat(self, workload: Workload, *, most: int, troubled: bool) -> None:
        """With one slot to begin with."""
        self._most[workload] = most
        if troubled:
            self._troubled.add(workload)
        self._give(workload, 1)

    def share_out(self) -> None:
        """Round by round what is left, until nobody wants or may have more."""
        wanting = list(self.given)
        while self.free > 0 and wanting:
            share = max(self.free // len(wanting), 1)
            still = []
            for workload in wanting:
                more = min(share, self._wanted(workload))
                if more > 0:
                    self._give(workload, more)
                    still.append(workload)
            wanting = still

    def _wanted(self, workload: Workload) -> int:
        room = min(self._most[workload] - self.given[workload], self.group_room(workload), self.free)
        return min(room, self.troubled_free) if workload in self._troubled else room

    def _give(self, workload: Workload, count: int) -> None:
        self.given[workload] = self.given.get(workload, 0) + count
        self._groups[workload.group.key] = self._groups.get(workload.group.key, 0) + count
        self.free -= count
        if workload in self._troubled:
            self.troubled_free -= count


def _seat(workload: Workload, hands: _Hands, dealt: Dealt, *, at: float, now: datetime) -> None:
    if workload.endpoint.state is not EndpointState.ENABLED:
        dealt.idle.append(workload)
        return
    most = workload.room(at)
    match may_send(workload.health, at=now):
        case Admission.HELD:
            assert workload.health.hold_until is not None
            dealt.later.append((workload, at + (workload.health.hold_until - now).total_seconds()))
            return
        case Admission.PROBE:
            # Not before everything from before the rest is over and known.
            most = 0 if workload.unrecorded else min(most, 1)
        case Admission.FREE:
            pass
    troubled = workload.is_troubled(at)
    if most <= 0:
        _wait_for(workload, workload.id, workload.left.until, dealt, under_way=workload.unrecorded, at=at)
    elif hands.group_room(workload) <= 0:
        group = workload.group
        _wait_for(workload, group.key, group.left.until, dealt, under_way=group.in_flight, at=at)
    elif troubled and hands.troubled_free <= 0:
        dealt.parked.append((workload, TROUBLED))
    elif workload.bucket is not None and (ready_at := workload.bucket.ready_at(at)) > at:
        dealt.later.append((workload, ready_at))
    else:
        hands.seat(workload, most=most, troubled=troubled)


def _wait_for(
    workload: Workload, key: Hashable, left_until: float, dealt: Dealt, *, under_way: int, at: float
) -> None:
    """The end of something of ours, or of the leases that a dead dispatcher left."""
    if under_way or left_until <= at:
        dealt.parked.append((workload, key))
    else:
        dealt.later.append((workload, left_until))
