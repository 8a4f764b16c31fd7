"""One attempt, from the lease to what came of it; what follows from that is decided in conclusion.py."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from mailement_common.clock import Clock
from mailement_common.logs import logger
from mailement_webhook_dispatcher.http.exchange import Exchange, Limits, Phases
from mailement_webhook_dispatcher.outcome import OurFault, Outcome, judge
from mailement_webhook_dispatcher.request import Outgoing, Request, request_for
from mailement_webhook_dispatcher.workload import SecretsUnreadable, Workload
from mailement_webhooks.deliveries import Reason
from mailement_webhooks.endpoints import Profile, RetryMode
from mailement_webhooks.usecases.claim_deliveries import LeasedDelivery

_NOTHING_SENT: Final = Exchange(answer=None, fault=None, phases=Phases(), request_head="", reused=False)

log = logger(__name__)


class Posts(Protocol):
    async def post(self, request: Request, *, limits: Limits, reuse: bool) -> Exchange: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """`probe`: it was the one that an open breaker let through. `ended_at`, `took`: by the loop's clock, in seconds.

    `jitter`: from 0 to 1, so that what is concluded from it is always the same.
    """

    delivery: LeasedDelivery
    workload: Workload
    probe: bool
    exchange: Exchange
    outcome: Outcome
    started_at: datetime
    finished_at: datetime
    ended_at: float
    took: float
    jitter: float


class Attempter:
    """Makes attempts; never raises for what goes wrong with one."""

    def __init__(self, sender: Posts, clock: Clock, limits: Mapping[Profile, Limits]) -> None:
        self._sender = sender
        self._clock = clock
        self._limits = limits

    async def attempt(self, delivery: LeasedDelivery, workload: Workload, *, probe: bool) -> Attempted:
        loop = asyncio.get_running_loop()
        began, started_at = loop.time(), self._clock.now()
        exchange, outcome = await self._exchange(delivery, workload, started_at)
        ended_at = loop.time()
        return Attempted(
            delivery=delivery,
            workload=workload,
            probe=probe,
            exchange=exchange,
            outcome=outcome,
            started_at=started_at,
            finished_at=self._clock.now(),
            ended_at=ended_at,
            took=ended_at - began,
            jitter=random.random(),
        )

    async def _exchange(
        self, delivery: LeasedDelivery, workload: Workload, at: datetime
    ) -> tuple[Exchange, Outcome]:
        endpoint, secrets = workload.endpoint, workload.secrets
        if isinstance(secrets, SecretsUnreadable):
            return _NOTHING_SENT, OurFault(reason=Reason.SECRET_UNREADABLE, detail=secrets.detail)
        if delivery.body is None:
            return _NOTHING_SENT, OurFault(
                reason=Reason.PAYLOAD_REMOVED, detail="what was to be sent is gone"
            )
        try:
            request = request_for(
                Outgoing(
                    event_id=delivery.event_id,
                    profile=endpoint.profile,
                    type=delivery.type,
                    body=delivery.body,
                    sequence=delivery.sequence,
                    traceparent=delivery.traceparent,
                    url=endpoint.url,
                ),
                secrets=secrets,
                at=at,
            )
            exchange = await self._sender.post(
                request,
                limits=self._limits[endpoint.profile],
                # Whoever is promised one attempt must not lose it to a kept connection that had died meanwhile.
                reuse=endpoint.retries is not RetryMode.ONCE,
            )
            return exchange, judge(exchange, retries=endpoint.retries, at=self._clock.now())
        except Exception as error:
            log.error("webhook.attempt_broke", delivery_id=delivery.id, exc_info=error)
            return _NOTHING_SENT, OurFault(reason=Reason.INTERNAL_ERROR, detail=type(error).__name__)
