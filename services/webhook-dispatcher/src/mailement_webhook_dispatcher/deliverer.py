"""Sends what is due: the agenda says whose, the turns say how much, the claim hands it out, and each has a task."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Final

import asyncpg

from mailement_common.clock import Clock
from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.logs import logger
from mailement_common.supervise import keep_running
from mailement_webhook_dispatcher.agenda import Agenda
from mailement_webhook_dispatcher.attempt import Attempted, Attempter
from mailement_webhook_dispatcher.conclusion import Conclusion
from mailement_webhook_dispatcher.metrics import IN_FLIGHT
from mailement_webhook_dispatcher.outcome import Delivered, OurFault, calls_for_fewer
from mailement_webhook_dispatcher.recorder import Recorder
from mailement_webhook_dispatcher.report import report
from mailement_webhook_dispatcher.shards import ShardOwner
from mailement_webhook_dispatcher.turns import TROUBLED, Dealt, Slots, deal
from mailement_webhook_dispatcher.wakes import wakes
from mailement_webhook_dispatcher.workload import Workload
from mailement_webhook_dispatcher.workloads import Workloads
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.claim_deliveries import (
    Claim,
    LeasedDelivery,
    Turn,
    claim_deliveries,
    release_deliveries,
)

# While posts are under way, claims come at least so far apart unless there is much to hand out.
_BETWEEN_CLAIMS: Final = 0.004
_GLANCE_SECONDS: Final = 0.001
_LONGEST_PAUSE: Final = 0.5
# Posted and not committed: more than this beside the slots, and posting waits for the database.
_MOST_UNRECORDED: Final = 1000
# Replayed ones are due that were not handed out, and nothing is under way whose end would be the moment for them.
_SOON: Final = 0.1

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """`slots`: posts under way. `lease_seconds` must exceed the longest attempt by far: after it another dispatcher may
    post the same again. `order_seconds`: see `claim_deliveries`.
    """

    slots: int
    lease_seconds: float
    order_seconds: float

    @property
    def troubled(self) -> int:
        """Slots that endpoints with a recent failure may have: half of all."""
        return max(self.slots // 2, 1)

    @property
    def replays(self) -> int:
        """Slots that replayed deliveries may have: a quarter."""
        return max(self.slots // 4, 1)


class Deliverer:
    """`wake` is told whom there is something for."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        owner: ShardOwner,
        workloads: Workloads,
        attempter: Attempter,
        recorder: Recorder,
        clock: Clock,
        capacity: Capacity,
    ) -> None:
        self._pool = pool
        self._owner = owner
        self._workloads = workloads
        self._attempter = attempter
        self._recorder = recorder
        self._clock = clock
        self._capacity = capacity
        self._agenda = Agenda()
        self._woken = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        # The tasks that have not come to their end, while their set also holds those that have just done so.
        self._in_flight = 0
        self._claimed_at = -inf
        # Replayed deliveries of theirs are due, and there was no room for them.
        self._replays_wait: set[EndpointId] = set()

    def wake(self, endpoint_ids: Collection[EndpointId]) -> None:
        for endpoint_id in endpoint_ids:
            if not self._workloads.is_foreign(endpoint_id):
                self._agenda.enter(endpoint_id)
        self._woken.set()

    def expect(self, endpoint_id: EndpointId, seconds: float) -> None:
        """Something of its will be due then."""
        if seconds <= 0:
            self._agenda.enter(endpoint_id)
        else:
            self._agenda.enter_at(endpoint_id, asyncio.get_running_loop().time() + seconds)
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

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`, then finishes what is under way; returns when all of it is committed."""
        try:
            async with wakes(self._woken, on=stop):
                await keep_running("webhook deliverer", lambda: self._deliver(stop), stop)
            if self._attempts:
                await asyncio.wait(self._attempts)
            await self._recorder.drained()
        finally:
            for attempt in self._attempts:
                attempt.cancel()

    def settled(self, conclusion: Conclusion, recorded: bool) -> None:
        """What the recorder tells of each attempt, once it is committed or cannot be."""
        workload, result = conclusion.attempted.workload, conclusion.result
        self._workloads.settle(workload)
        report(conclusion, recorded=recorded)
        if workload.ours:
            if recorded and result.next_attempt_in is not None:
                self.expect(workload.id, result.next_attempt_in)
            if workload.endpoint.ordered:
                # Later ones of the same subscriber may have waited for it.
                self._agenda.enter(workload.id)
                self._woken.set()
        self._release(workload)
        self._owner.stir()

    async def _deliver(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            self._woken.clear()
            self._agenda.turn_to(loop.time())
            self._let_troubled_in()
            if self._agenda.due and self._owner.connected and self._free() > 0:
                await self._claim(stop)
            else:
                await self._rest(min((self._agenda.next_moment() or inf) - loop.time(), _LONGEST_PAUSE))

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._woken.wait()

    async def _claim(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < self._claimed_at + _BETWEEN_CLAIMS and not self._is_worth_a_claim():
            await asyncio.sleep(_GLANCE_SECONDS)
        await self._get_to_know(self._free())
        async with self._owner.connection() as connection:
            # No shard can be given up from here until the claim is done.
            dealt = self._deal(self._free())
            if stop.is_set() or not dealt.turns:
                return
            self._claimed_at = loop.time()
            claim = await self._claim_for(connection, dealt.turns)
        await self._begin(claim, dealt.turns, stop)
        self._release_idle(dealt)

    async def _claim_for(self, connection: asyncpg.Connection, turns: Sequence[Turn]) -> Claim:
        try:
            return await claim_deliveries(
                connection,
                turns,
                lease_seconds=self._capacity.lease_seconds,
                order_seconds=self._capacity.order_seconds,
            )
        except BaseException:
            # What was leased all the same comes back by itself; the others must not be forgotten.
            for turn in turns:
                self._agenda.enter(turn.endpoint_id)
            raise

    def _free(self) -> int:
        unrecorded = _MOST_UNRECORDED - self._recorder.backlog
        return self._capacity.slots - self._in_flight + min(unrecorded, 0)

    def _is_worth_a_claim(self) -> bool:
        """Whether somebody would wait who has nothing under way, or enough can be handed out at once: a quarter of the
        slots, or half of what those that are due may have. If none of them may have more, to deal costs nothing.
        """
        at, room, most = asyncio.get_running_loop().time(), 0, 0
        for endpoint_id in self._agenda.first(self._capacity.slots):
            workload = self._workloads.get(endpoint_id)
            if workload is None or not workload.in_flight:
                return True
            room += max(workload.room(at), 0)
            most += workload.limit.limit
        return not room or room >= min(self._capacity.slots // 4, most // 2)

    def _let_troubled_in(self) -> None:
        if self._agenda.parked(TROUBLED):
            at = asyncio.get_running_loop().time()
            room = self._capacity.troubled - self._workloads.troubled_in_flight(at)
            self._agenda.release(TROUBLED, max(room, 0))

    async def _get_to_know(self, free: int) -> None:
        unknown = [
            endpoint_id
            for endpoint_id in self._agenda.first(2 * free)
            if self._workloads.get(endpoint_id) is None
        ]
        if not unknown:
            return
        async with self._pool.acquire() as connection:
            await self._workloads.load(connection, unknown, self._owner.owned)
        for endpoint_id in unknown:
            if not self._workloads.is_ours(endpoint_id):
                self._agenda.forget(endpoint_id)

    def _deal(self, free: int) -> Dealt:
        at = asyncio.get_running_loop().time()
        owned, due = self._owner.owned, []
        for endpoint_id in self._agenda.first(2 * free):
            workload = self._workloads.get(endpoint_id)
            if workload is not None and workload.shard in owned:
                due.append(workload)
            elif workload is not None:
                # Its shard is about to be given up; whoever takes it looks for what is due.
                self._agenda.forget(endpoint_id)
        slots = Slots(
            free=free,
            troubled=self._capacity.troubled - self._workloads.troubled_in_flight(at),
            replays=self._capacity.replays - self._workloads.replays_in_flight(),
        )
        dealt = deal(due, slots, at=at, now=self._clock.now())
        for turn in dealt.turns:
            self._agenda.forget(turn.endpoint_id)
        for workload, key in dealt.parked:
            self._agenda.park(workload.id, key)
        for workload, moment in dealt.later:
            self._agenda.forget(workload.id)
            self._agenda.enter_at(workload.id, moment)
        for workload in dealt.idle:
            self._agenda.forget(workload.id)
        return dealt

    async def _begin(self, claim: Claim, turns: Sequence[Turn], stop: asyncio.Event) -> None:
        unwanted = []
        claimed, replayed = Counter[EndpointId](), Counter[EndpointId]()
        for delivery in claim.deliveries:
            claimed[delivery.endpoint_id] += 1
            replayed[delivery.endpoint_id] += delivery.replay_id is not None
            workload = self._workloads.get(delivery.endpoint_id)
            if workload is None or stop.is_set():
                unwanted.append(delivery)
            elif workload.endpoint.version != delivery.endpoint_version:
                # The announcement of the change is still on its way.
                self._workloads.changed(workload.id)
                unwanted.append(delivery)
            else:
                self._start(delivery, workload)
        for turn in turns:
            self._look_ahead(turn, claim, claimed[turn.endpoint_id], replayed[turn.endpoint_id])
        await self._give_back(unwanted)

    def _look_ahead(self, turn: Turn, claim: Claim, claimed: int, replayed: int) -> None:
        """When it is this endpoint's turn again, as far as the claim can tell."""
        workload = self._workloads.get(turn.endpoint_id)
        if workload is not None and workload.bucket is not None:
            workload.bucket.put_back(turn.room - claimed)
        due_in = claim.next_due_in[turn.endpoint_id]
        if claimed >= turn.room:
            self._agenda.enter(turn.endpoint_id)
        elif due_in is not None and due_in > 0:
            self.expect(turn.endpoint_id, due_in)
        elif due_in is not None and replayed >= turn.replay_room and self._workloads.replays_in_flight():
            # The end of one of these wakes it.
            self._replays_wait.add(turn.endpoint_id)
        elif due_in is not None:
            self.expect(turn.endpoint_id, _SOON)

    def _release_idle(self, dealt: Dealt) -> None:
        """Parked for the sake of others that then had nothing to send: nobody else would release them."""
        for workload, key in dealt.parked:
            if not workload.unrecorded and not workload.group.in_flight and key != TROUBLED:
                self._agenda.release(key)

    async def _give_back(self, deliveries: Sequence[LeasedDelivery]) -> None:
        if not deliveries:
            return
        try:
            await release_deliveries(self._pool, deliveries)
        except DATABASE_UNABLE as error:
            log.warning("webhook.not_released", deliveries=len(deliveries), reason=type(error).__name__)
            return
        log.info("webhook.released", deliveries=len(deliveries))
        self.wake({delivery.endpoint_id for delivery in deliveries})

    def _start(self, delivery: LeasedDelivery, workload: Workload) -> None:
        self._workloads.begin(workload, replay=delivery.replay_id is not None)
        IN_FLIGHT.inc()
        self._in_flight += 1
        task = asyncio.create_task(self._attempt(delivery, workload))
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def _attempt(self, delivery: LeasedDelivery, workload: Workload) -> None:
        probe = workload.health.breaker_trips > 0
        attempted = await self._attempter.attempt(delivery, workload, probe=probe)
        IN_FLIGHT.dec()
        self._in_flight -= 1
        replay = delivery.replay_id is not None
        workload.end(replay=replay)
        _learn(attempted)
        self._recorder.add(attempted)
        if replay:
            self.wake(self._replays_wait)
            self._replays_wait.clear()
        self._release(workload)

    def _release(self, workload: Workload) -> None:
        """There may be room for what waited for this."""
        self._agenda.release(workload.id)
        self._agenda.release(workload.group.key)
        if self._agenda.due or self._agenda.parked(TROUBLED):
            self._woken.set()


def _learn(attempted: Attempted) -> None:
    """How many posts at a time the endpoint can take."""
    workload = attempted.workload
    if isinstance(attempted.outcome, Delivered):
        workload.limit.succeeded()
    elif not isinstance(attempted.outcome, OurFault):
        workload.note_failure(attempted.ended_at)
        if calls_for_fewer(attempted.exchange):
            workload.limit.lost(began_at=attempted.ended_at - attempted.took, at=attempted.ended_at)
