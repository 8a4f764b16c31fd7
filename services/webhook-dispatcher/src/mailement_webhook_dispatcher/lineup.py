"""Who is next: the agenda of this dispatcher, kept true by what is heard, dealt, claimed and finished."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

from mailement_common.clock import Clock
from mailement_webhook_dispatcher.agenda import Agenda
from mailement_webhook_dispatcher.capacity import Capacity
from mailement_webhook_dispatcher.turns import TROUBLED, Dealt, Slots, deal
from mailement_webhook_dispatcher.wakes import wakes
from mailement_webhook_dispatcher.workload import Workload
from mailement_webhook_dispatcher.workloads import Workloads
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.usecases.claim_deliveries import Claim, Turn

_LONGEST_PAUSE: Final = 0.5
# Replayed ones are due that were not handed out, and nothing is under way whose end would be the moment for them.
_SOON: Final = 0.1
# Until endpoints whose shard is about to be given up are looked at again.
_LEAVING_SECONDS: Final = 0.5


class Lineup:
    """`wake` and `expect` put endpoints in, `deal` takes them out; who stays due is looked at again by itself."""

    def __init__(self, workloads: Workloads, clock: Clock, capacity: Capacity) -> None:
        self._workloads = workloads
        self._clock = clock
        self._capacity = capacity
        self._agenda = Agenda()
        self._woken = asyncio.Event()
        # Replayed deliveries of theirs are due, and there was no room for them.
        self._replays_wait: set[EndpointId] = set()

    @property
    def has_due(self) -> bool:
        return bool(self._agenda.due)

    def wake(self, endpoint_ids: Collection[EndpointId]) -> None:
        """There is something for these."""
        for endpoint_id in endpoint_ids:
            if not self._workloads.is_foreign(endpoint_id):
                self._agenda.enter(endpoint_id)
        self._woken.set()

    def expect(self, endpoint_id: EndpointId, seconds: float) -> None:
        """Something of its will be due then."""
        if seconds <= 0:
            self._agenda.enter(endpoint_id)
        else:
            self._agenda.enter_at(endpoint_id, _now() + seconds)
        self._woken.set()

    def changed(self, endpoint_id: EndpointId) -> None:
        """The endpoint is not what it was; what waits for it is looked at anew."""
        self._workloads.changed(endpoint_id)
        self._agenda.forget(endpoint_id)
        self.wake([endpoint_id])

    def forget(self, endpoint_ids: Collection[EndpointId]) -> None:
        for endpoint_id in endpoint_ids:
            self._agenda.forget(endpoint_id)
            self._replays_wait.discard(endpoint_id)

    def release(self, workload: Workload) -> None:
        """Something of its is over: there may be room for what waited for this."""
        self._agenda.release(workload.id)
        self._agenda.release(workload.group.key)
        if self._agenda.due or self._agenda.parked(TROUBLED):
            self._woken.set()

    def replay_ended(self) -> None:
        self.wake(self._replays_wait)
        self._replays_wait.clear()

    def woken_on(self, stop: asyncio.Event) -> AbstractAsyncContextManager[None]:
        """Inside the block, whoever rests is woken by `stop` too."""
        return wakes(self._woken, on=stop)

    def advance(self) -> None:
        """Who is due by now, and who has room by now, is due."""
        self._woken.clear()
        at = _now()
        self._agenda.turn_to(at)
        if self._agenda.parked(TROUBLED):
            room = self._capacity.troubled - self._workloads.troubled_in_flight(at)
            self._agenda.release(TROUBLED, max(room, 0))

    async def rest(self) -> None:
        """Until something happens, or is due; not for long."""
        moment = self._agenda.next_moment()
        seconds = _LONGEST_PAUSE if moment is None else min(moment - _now(), _LONGEST_PAUSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._woken.wait()

    def is_worth_a_claim(self) -> bool:
        """Whether somebody would wait who has nothing under way, or enough can be handed out at once: a quarter of the
        slots, or half of what those that are due may have. If none of them may have more, to deal costs nothing.
        """
        at, room, most = _now(), 0, 0
        for endpoint_id in self._agenda.first(self._capacity.slots):
            workload = self._workloads.get(endpoint_id)
            if workload is None or not workload.in_flight:
                return True
            room += max(workload.room(at), 0)
            most += workload.limit.limit
        return not room or room >= min(self._capacity.slots // 4, most // 2)

    def unknown(self, free: int) -> list[EndpointId]:
        """Those that must be loaded before so many slots can be dealt."""
        return [endpoint_id for endpoint_id in self._next(free) if self._workloads.get(endpoint_id) is None]

    def deal(self, free: int, owned: Collection[Shard]) -> Dealt:
        """Takes out those that have a turn, and puts off those that cannot have one yet."""
        at = _now()
        slots = Slots(
            free=free,
            troubled=self._capacity.troubled - self._workloads.troubled_in_flight(at),
            replays=self._capacity.replays - self._workloads.replays_in_flight(),
        )
        dealt = deal(self._to_deal_to(free, owned, at), slots, at=at, now=self._clock.now())
        for turn in dealt.turns:
            self._agenda.forget(turn.endpoint_id)
        for workload, key in dealt.parked:
            self._agenda.park(workload.id, key)
        for workload, moment in dealt.later:
            self._put_off(workload.id, moment)
        for workload in dealt.idle:
            self._agenda.forget(workload.id)
        return dealt

    def claimed(self, dealt: Dealt, claim: Claim) -> None:
        """What came of the turns; tells when it is whose turn again."""
        counts, replayed = Counter[EndpointId](), Counter[EndpointId]()
        for delivery in claim.deliveries:
            counts[delivery.endpoint_id] += 1
            replayed[delivery.endpoint_id] += delivery.replay_id is not None
        for turn in dealt.turns:
            due_in = claim.next_due_in[turn.endpoint_id]
            self._look_ahead(turn, due_in, counts[turn.endpoint_id], replayed[turn.endpoint_id])
        self._release_idle(dealt)

    def not_claimed(self, dealt: Dealt) -> None:
        """The claim failed: those that had a turn are still due."""
        for turn in dealt.turns:
            self._agenda.enter(turn.endpoint_id)
        self._release_idle(dealt)

    def _next(self, free: int) -> list[EndpointId]:
        """More than there are slots, because some cannot have one."""
        return self._agenda.first(2 * free)

    def _to_deal_to(self, free: int, owned: Collection[Shard], at: float) -> list[Workload]:
        due = []
        for endpoint_id in self._next(free):
            workload = self._workloads.get(endpoint_id)
            if workload is not None and workload.shard in owned:
                due.append(workload)
            elif workload is not None:
                # Its shard is about to be given up, and then forgotten here; unless it stays after all.
                self._put_off(endpoint_id, at + _LEAVING_SECONDS)
        return due

    def _put_off(self, endpoint_id: EndpointId, moment: float) -> None:
        self._agenda.forget(endpoint_id)
        self._agenda.enter_at(endpoint_id, moment)

    def _look_ahead(self, turn: Turn, due_in: float | None, claimed: int, replayed: int) -> None:
        workload = self._workloads.get(turn.endpoint_id)
        if workload is not None:
            workload.replays_wait = due_in is not None and due_in <= 0
            if workload.bucket is not None:
                workload.bucket.put_back(turn.room - claimed)
        if claimed >= turn.room:
            self._agenda.enter(turn.endpoint_id)
        elif due_in is not None and due_in > 0:
            self.expect(turn.endpoint_id, due_in)
        elif due_in is not None and replayed >= turn.replay_room and self._workloads.replays_in_flight():
            # The end of one of these wakes it.
            self._replays_wait.add(turn.endpoint_id)
        elif due_in is not None:
            # Who was dealt none of the slots for replays is the first to be dealt one the next time.
            self.expect(turn.endpoint_id, _SOON if turn.replay_room else 0)

    def _release_idle(self, dealt: Dealt) -> None:
        """Parked for the sake of others of their brand that then had less to send, or nothing whose end releases them."""
        at = _now()
        for workload, key in dealt.parked:
            if key == workload.group.key and workload.group.room(at) > 0:
                self._agenda.release(key)


def _now() -> float:
    return asyncio.get_running_loop().time()
