"""Writes what attempts came to: in batches, and with each batch what follows from it for endpoints and their owners."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.events.types import EventType
from mailement_common.logs import logger
from mailement_common.supervise import pauses, wait_for
from mailement_webhook_dispatcher.attempt import Attempted
from mailement_webhook_dispatcher.conclusion import Conclusion, conclude
from mailement_webhook_dispatcher.news import (
    News,
    as_events,
    disabling_reason,
    news_of,
    recoveries,
    sent_again,
)
from mailement_webhook_dispatcher.workload import Workload
from mailement_webhooks.database import Connection
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.rules.health import Health, worth_writing
from mailement_webhooks.usecases.disable_endpoint import disable_endpoint
from mailement_webhooks.usecases.record_attempts import record_attempts
from mailement_webhooks.usecases.save_health import save_health
from mailement_webhooks.usecases.tell import tell

_BATCH: Final = 200
_LARGEST_BATCH: Final = 1000
_LONGEST_WAIT: Final = 0.01

log = logger(__name__)

# Told of each attempt once it is committed, or cannot be: then it is not recorded.
Settled = Callable[[Conclusion, bool], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a batch comes to if all of it is recorded. `before`, `healths`: of endpoints that are ours."""

    conclusions: Sequence[Conclusion]
    before: dict[Workload, Health]
    healths: dict[Workload, Health]

    def to_save(self) -> dict[Workload, Health]:
        return {
            workload: health
            for workload, health in self.healths.items()
            if health is not workload.written and worth_writing(workload.written, health)
        }

    @property
    def has_consequences(self) -> bool:
        """Whether more is to be written than the attempts."""
        return any(
            conclusion.change.facts
            or conclusion.exhausted
            or conclusion.recovered
            or conclusion.may_have_recovered
            for conclusion in self.conclusions
        ) or bool(self.to_save())


class Recorder:
    """`run` writes what `add` hands over. `pace`: see `conclude`."""

    def __init__(self, pool: asyncpg.Pool, *, pace: float) -> None:
        self._pool = pool
        self._pace = pace
        self._waiting: list[Attempted] = []
        self._writing = 0
        # How often the database was found away, and how often of that everything has been committed since.
        self._outages = 0
        self._made_up_for = 0
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def backlog(self) -> int:
        """Attempts that are over and not committed."""
        return len(self._waiting) + self._writing

    @property
    def is_behind(self) -> bool:
        """The database was away, and what ended meanwhile is not all committed: leases of it may be over already."""
        return self._outages > self._made_up_for

    def add(self, attempted: Attempted) -> None:
        self._waiting.append(attempted)
        self._some.set()
        self._empty.clear()
        if len(self._waiting) >= _BATCH:
            self._full.set()

    async def drained(self) -> None:
        """Returns when everything is committed."""
        await self._empty.wait()

    async def run(self, settled: Settled) -> None:
        """Until it is cancelled."""
        while True:
            await self._some.wait()
            await wait_for(self._full, _LONGEST_WAIT)
            batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
            self._writing = len(batch)
            if not self._waiting:
                self._some.clear()
            if len(self._waiting) < _BATCH:
                self._full.clear()
            outages, is_all = self._outages, not self._waiting
            try:
                await self._write(batch, settled)
                if not self._waiting:
                    self._made_up_for = self._outages
                elif is_all:
                    self._made_up_for = outages
            finally:
                self._writing = 0
                if not self._waiting:
                    self._empty.set()

    async def _write(self, batch: Sequence[Attempted], settled: Settled) -> None:
        try:
            plan, recorded = await self._until_written(batch)
        except Exception as error:  # noqa: BLE001  told with the delivery that it is about
            if len(batch) > 1:
                for attempted in batch:
                    await self._write([attempted], settled)
                return
            plan = self._plan(batch)
            recorded = await self._without_words(plan.conclusions[0], error)
        for conclusion in plan.conclusions:
            settled(conclusion, conclusion.result.delivery_id in recorded)

    async def _without_words(self, conclusion: Conclusion, error: Exception) -> Collection[DeliveryId]:
        """The last resort: what cannot be written as it is would be sent again after every lease."""
        delivery_id = conclusion.result.delivery_id
        log.error("webhook.not_recorded", delivery_id=delivery_id, exc_info=error)
        bare = replace(
            conclusion.result, detail=None, request_head=None, response_head=None, response_body=None
        )
        try:
            return await record_attempts(self._pool, [bare])
        except Exception as still:
            log.error("webhook.not_recorded", delivery_id=delivery_id, exc_info=still)
            return set()

    async def _until_written(self, batch: Sequence[Attempted]) -> tuple[_Plan, Collection[DeliveryId]]:
        """A database that is away is waited for: the POST has happened and must not be forgotten."""
        waits = pauses()
        while True:
            try:
                return await self._write_once(batch)
            except DATABASE_UNABLE as error:
                self._outages += 1
                pause = next(waits)
                log.warning("database.unable", reason=type(error).__name__, retry_in_seconds=pause)
                await asyncio.sleep(pause)

    async def _write_once(self, batch: Sequence[Attempted]) -> tuple[_Plan, Collection[DeliveryId]]:
        plan = self._plan(batch)
        results = [conclusion.result for conclusion in plan.conclusions]
        async with self._pool.acquire() as connection:
            if plan.has_consequences:
                async with connection.transaction():
                    recorded = await record_attempts(connection, results)
                    effective = self._effective(batch, plan, recorded)
                    saved = await _follow_up(connection, effective)
            else:
                recorded = await record_attempts(connection, results)
                effective, saved = self._effective(batch, plan, recorded), {}
        for workload, health in effective.healths.items():
            # Somebody may have enabled the endpoint meanwhile, and it starts afresh.
            if workload.health is effective.before[workload]:
                if workload.health.breaker_trips and not health.breaker_trips:
                    workload.limit.restart()
                workload.health = health
        for workload, health in saved.items():
            workload.written = health
        return plan, recorded

    def _effective(self, batch: Sequence[Attempted], plan: _Plan, recorded: Collection[DeliveryId]) -> _Plan:
        """Without those whose lease had ended: they are another dispatcher's to judge."""
        if len(recorded) == len(batch):
            return plan
        return self._plan([attempted for attempted in batch if attempted.delivery.id in recorded])

    def _plan(self, batch: Sequence[Attempted]) -> _Plan:
        """In the order in which the attempts ended."""
        conclusions: list[Conclusion] = []
        before: dict[Workload, Health] = {}
        healths: dict[Workload, Health] = {}
        for attempted in batch:
            workload = attempted.workload
            health = healths.get(workload, workload.health)
            conclusion = conclude(attempted, health, pace=self._pace)
            conclusions.append(conclusion)
            if workload.ours:
                before.setdefault(workload, workload.health)
                healths[workload] = conclusion.change.health
        return _Plan(conclusions=conclusions, before=before, healths=healths)


async def _follow_up(connection: Connection, plan: _Plan) -> dict[Workload, Health]:
    """Tells which healths were saved."""
    news = news_of(plan.conclusions)
    if again := sent_again(plan.conclusions):
        news += await recoveries(connection, again)
    wanted = plan.to_save()
    written = await save_health(connection, {workload.id: health for workload, health in wanted.items()})
    saved = {workload: health for workload, health in wanted.items() if workload.id in written}
    news += await _disable(
        connection,
        [conclusion for conclusion in plan.conclusions if conclusion.attempted.workload in saved],
    )
    if news:
        await tell(connection, await as_events(connection, news))
    return saved


async def _disable(connection: Connection, conclusions: Sequence[Conclusion]) -> list[News]:
    disabled = []
    for conclusion in conclusions:
        reason = disabling_reason(conclusion)
        if reason is not None and await disable_endpoint(
            connection, conclusion.attempted.workload.id, reason
        ):
            log.warning(
                "webhook.endpoint_disabled", endpoint_id=conclusion.attempted.workload.id, reason=reason
            )
            disabled.append(News(type=EventType.ENDPOINT_DISABLED, conclusion=conclusion))
    return disabled
