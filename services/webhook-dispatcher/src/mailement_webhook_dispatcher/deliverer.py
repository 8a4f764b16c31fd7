"""Claims what is due and posts it: never more at once than there are slots, nor than an endpoint may have."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.clock import Clock
from mailement_common.logs import logger
from mailement_common.sealing import CannotOpen, KeyRing
from mailement_common.supervise import keep_running, wait_for
from mailement_webhook_dispatcher.metrics import ATTEMPT_SECONDS, ATTEMPTS, LAG_SECONDS
from mailement_webhook_dispatcher.outcome import Failed, Outcome, judge
from mailement_webhook_dispatcher.recorder import Recorder
from mailement_webhook_dispatcher.request import request_for
from mailement_webhook_dispatcher.sender import Sender
from mailement_webhooks.deliveries import AttemptOutcome, Reason
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.claim_deliveries import (
    LeasedDelivery,
    claim_deliveries,
    release_deliveries,
)
from mailement_webhooks.usecases.record_attempts import AttemptResult
from mailement_webhooks.usecases.set_endpoint import secret_owner

# What nobody announced (another process recorded it, or reopened it) is found by then.
_POLL_SECONDS: Final = 0.5

log = logger(__name__)


class Deliverer:
    """`wake` is called when there is something to deliver; a poll finds what was not announced.

    `lease_seconds` must exceed the longest attempt by far: after it another dispatcher posts the same again.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        sender: Sender,
        recorder: Recorder,
        keys: KeyRing,
        clock: Clock,
        *,
        slots: int,
        endpoint_limit: int,
        lease_seconds: float,
    ) -> None:
        self._pool = pool
        self._sender = sender
        self._recorder = recorder
        self._keys = keys
        self._clock = clock
        self._slots = slots
        self._endpoint_limit = endpoint_limit
        self._lease_seconds = lease_seconds
        self._cursor = EndpointId(0)
        self._woken = asyncio.Event()
        self._under_way: Counter[EndpointId] = Counter()
        self._attempts: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`, then finishes and records what is under way."""
        waker = asyncio.create_task(self._wake_on(stop))
        try:
            await keep_running("webhook deliverer", lambda: self._deliver(stop), stop)
            if self._attempts:
                await asyncio.wait(self._attempts)
        finally:
            waker.cancel()
            for attempt in self._attempts:
                attempt.cancel()

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake()

    async def _deliver(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._woken.clear()
            while await self._claim(stop):
                pass
            if not stop.is_set():
                await wait_for(self._woken, _POLL_SECONDS)

    async def _claim(self, stop: asyncio.Event) -> bool:
        """Fills the free slots; tells whether it is worth asking again at once."""
        free = self._slots - len(self._attempts)
        if stop.is_set() or free <= 0:
            return False
        claim = await claim_deliveries(
            self._pool,
            cursor=self._cursor,
            slots=free,
            endpoint_limit=self._endpoint_limit,
            under_way=dict(self._under_way),
            lease_seconds=self._lease_seconds,
        )
        self._cursor = claim.cursor
        if stop.is_set():
            await self._give_back(claim.deliveries)
            return False
        for delivery in claim.deliveries:
            self._start(delivery)
        return bool(claim.deliveries)

    async def _give_back(self, deliveries: Sequence[LeasedDelivery]) -> None:
        if deliveries:
            await release_deliveries(self._pool, deliveries)
            log.info("webhook.released", deliveries=len(deliveries))

    def _start(self, delivery: LeasedDelivery) -> None:
        self._under_way[delivery.endpoint_id] += 1
        attempt = asyncio.create_task(self._attempt(delivery))
        self._attempts.add(attempt)
        attempt.add_done_callback(lambda task: self._ended(task, delivery.endpoint_id))

    def _ended(self, attempt: asyncio.Task[None], endpoint_id: EndpointId) -> None:
        self._attempts.discard(attempt)
        self._under_way[endpoint_id] -= 1
        if not self._under_way[endpoint_id]:
            del self._under_way[endpoint_id]
        self.wake()

    async def _attempt(self, delivery: LeasedDelivery) -> None:
        started_at, started = self._clock.now(), time.perf_counter()
        outcome = await self._post(delivery)
        result = _result(
            delivery,
            outcome,
            started_at=started_at,
            duration_ms=round((time.perf_counter() - started) * 1000),
        )
        _count(result, lag_seconds=(self._clock.now() - delivery.occurred_at).total_seconds())
        try:
            recorded = await self._recorder.record(result)
        except Exception as error:  # noqa: BLE001  its lease ends, and the attempt is recorded as interrupted
            log.error(
                "webhook.not_recorded", delivery_id=delivery.id, reason=f"{type(error).__name__}: {error}"
            )
            return
        _tell(delivery, result, recorded=recorded)

    async def _post(self, delivery: LeasedDelivery) -> Outcome:
        try:
            secret = self._keys.open(delivery.secret_sealed, owner=secret_owner(delivery.endpoint_id))
            return judge(await self._sender.post(request_for(delivery, secret=secret, at=self._clock.now())))
        except CannotOpen as error:
            return Failed(reason=Reason.SECRET_UNREADABLE, detail=str(error))
        except Exception as error:  # noqa: BLE001  our own mistake must not post the same again and again
            return Failed(reason=Reason.INTERNAL_ERROR, detail=type(error).__name__)


def _result(
    delivery: LeasedDelivery, outcome: Outcome, *, started_at: datetime, duration_ms: int
) -> AttemptResult:
    answer = outcome.answer
    failed = outcome if isinstance(outcome, Failed) else None
    return AttemptResult(
        delivery_id=delivery.id,
        lease_token=delivery.lease_token,
        outcome=AttemptOutcome.FAILED if failed else AttemptOutcome.DELIVERED,
        reason=failed.reason if failed else None,
        detail=_storable(failed.detail) if failed else None,
        status_code=answer.status if answer else None,
        response_body=_storable(answer.body.decode(errors="replace")) if answer else None,
        started_at=started_at,
        duration_ms=duration_ms,
    )


def _storable(text: str) -> str:
    """PostgreSQL takes neither NUL nor half a surrogate pair."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _count(result: AttemptResult, *, lag_seconds: float) -> None:
    ATTEMPTS.labels(result.outcome).inc()
    ATTEMPT_SECONDS.observe(result.duration_ms / 1000)
    if result.outcome is AttemptOutcome.DELIVERED:
        LAG_SECONDS.observe(max(lag_seconds, 0))


def _tell(delivery: LeasedDelivery, result: AttemptResult, *, recorded: bool) -> None:
    log.info(
        "webhook.attempted",
        delivery_id=delivery.id,
        event_id=str(delivery.event_id),
        endpoint_id=delivery.endpoint_id,
        brand_id=delivery.brand_id,
        type=delivery.type,
        attempt=delivery.attempt,
        outcome=result.outcome,
        reason=result.reason,
        status=result.status_code,
        duration_ms=result.duration_ms,
        # False: the lease had ended, so the ledger calls this attempt interrupted and a copy will follow.
        recorded=recorded,
    )
