"""Sends what is due: the lineup says whose turn it is, the claim hands it out, and each delivery has a task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Final

import asyncpg

from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.logs import logger
from mailement_common.supervise import keep_running
from mailement_webhook_dispatcher.attempt import Attempted, Attempter
from mailement_webhook_dispatcher.capacity import Capacity
from mailement_webhook_dispatcher.conclusion import Conclusion
from mailement_webhook_dispatcher.lineup import Lineup
from mailement_webhook_dispatcher.metrics import IN_FLIGHT
from mailement_webhook_dispatcher.outcome import Delivered, OurFault, calls_for_fewer
from mailement_webhook_dispatcher.recorder import Recorder
from mailement_webhook_dispatcher.report import report
from mailement_webhook_dispatcher.shards import ShardOwner
from mailement_webhook_dispatcher.turns import Dealt
from mailement_webhook_dispatcher.workload import Workload
from mailement_webhook_dispatcher.workloads import Workloads
from mailement_webhooks.usecases.claim_deliveries import (
    Claim,
    LeasedDelivery,
    claim_deliveries,
    release_deliveries,
)

# While posts are under way, claims come at least so far apart unless there is much to hand out.
_BETWEEN_CLAIMS: Final = 0.004
_GLANCE_SECONDS: Final = 0.001
# Posted and not committed: more than this beside the slots, and posting waits for the database.
_MOST_UNRECORDED: Final = 1000

log = logger(__name__)


class Deliverer:
    def __init__(
        self,
        pool: asyncpg.Pool,
        owner: ShardOwner,
        workloads: Workloads,
        lineup: Lineup,
        attempter: Attempter,
        recorder: Recorder,
        capacity: Capacity,
    ) -> None:
        self._pool = pool
        self._owner = owner
        self._workloads = workloads
        self._lineup = lineup
        self._attempter = attempter
        self._recorder = recorder
        self._capacity = capacity
        self._attempts: set[asyncio.Task[None]] = set()
        # The tasks that have not come to their end, while their set also holds those that have just done so.
        self._in_flight = 0
        self._claimed_at = -inf

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`, then finishes what is under way; returns when all of it is committed."""
        try:
            async with self._lineup.woken_on(stop):
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
        self._workloads.settle(workload, result.lease_token)
        report(conclusion, recorded=recorded)
        if workload.ours:
            if recorded and result.next_attempt_in is not None:
                self._lineup.expect(workload.id, result.next_attempt_in)
            if workload.endpoint.ordered:
                # Later ones of the same subscriber may have waited for it.
                self._lineup.wake([workload.id])
        self._lineup.release(workload)
        self._owner.stir()

    async def _deliver(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._lineup.advance()
            if self._lineup.has_due and self._owner.connected and self._free() > 0:
                await self._claim(stop)
            else:
                await self._lineup.rest()

    async def _claim(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < self._claimed_at + _BETWEEN_CLAIMS and not self._lineup.is_worth_a_claim():
            await asyncio.sleep(_GLANCE_SECONDS)
        await self._get_to_know()
        async with self._owner.connection() as connection:
            # No shard can be given up from here until the claim is done.
            dealt = self._lineup.deal(self._free(), self._owner.owned)
            if stop.is_set() or not dealt.turns:
                return
            self._claimed_at = loop.time()
            claim = await self._claim_for(connection, dealt)
        unwanted = self._begin(claim, stop)
        self._lineup.claimed(dealt, claim)
        await self._give_back(unwanted)

    async def _claim_for(self, connection: asyncpg.Connection, dealt: Dealt) -> Claim:
        try:
            return await claim_deliveries(
                connection,
                dealt.turns,
                lease_seconds=self._capacity.lease_seconds,
                order_seconds=self._capacity.order_seconds,
            )
        except BaseException:
            # What was leased all the same comes back by itself.
            self._lineup.not_claimed(dealt)
            raise

    def _free(self) -> int:
        unrecorded = _MOST_UNRECORDED - self._recorder.backlog
        return self._capacity.slots - self._in_flight + min(unrecorded, 0)

    async def _get_to_know(self) -> None:
        unknown = self._lineup.unknown(self._free())
        if not unknown:
            return
        async with self._pool.acquire() as connection:
            await self._workloads.load(connection, unknown)
        self._lineup.forget(
            [endpoint_id for endpoint_id in unknown if not self._workloads.is_ours(endpoint_id)]
        )

    def _begin(self, claim: Claim, stop: asyncio.Event) -> Sequence[LeasedDelivery]:
        """Tells what cannot be begun."""
        unwanted = []
        for delivery in claim.deliveries:
            workload = self._workloads.get(delivery.endpoint_id)
            if workload is None or stop.is_set():
                unwanted.append(delivery)
            elif workload.endpoint.version != delivery.endpoint_version:
                # The announcement of the change is still on its way.
                self._workloads.changed(workload.id)
                unwanted.append(delivery)
            else:
                self._start(delivery, workload)
        return unwanted

    async def _give_back(self, deliveries: Sequence[LeasedDelivery]) -> None:
        if not deliveries:
            return
        try:
            await release_deliveries(self._pool, deliveries)
        except DATABASE_UNABLE as error:
            log.warning("webhook.not_released", deliveries=len(deliveries), reason=type(error).__name__)
            return
        log.info("webhook.released", deliveries=len(deliveries))
        self._lineup.wake({delivery.endpoint_id for delivery in deliveries})

    def _start(self, delivery: LeasedDelivery, workload: Workload) -> None:
        self._workloads.begin(workload, delivery.lease_token, replay=delivery.replay_id is not None)
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
            self._lineup.replay_ended()
        self._lineup.release(workload)


def _learn(attempted: Attempted) -> None:
    """How many posts at a time the endpoint can take."""
    workload = attempted.workload
    if isinstance(attempted.outcome, Delivered):
        workload.limit.succeeded()
    elif not isinstance(attempted.outcome, OurFault):
        workload.note_failure(attempted.ended_at)
        if calls_for_fewer(attempted.exchange):
            workload.limit.lost(began_at=attempted.ended_at - attempted.took, at=attempted.ended_at)
