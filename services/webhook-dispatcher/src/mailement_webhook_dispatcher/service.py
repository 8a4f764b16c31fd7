"""The webhook dispatcher as a service: consumes events, delivers them, repairs what a crash left."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

import asyncpg

from mailement_common.bus.consumer import Consumer
from mailement_common.bus.topology import WEBHOOKS
from mailement_common.clock import Clock
from mailement_common.db.checks import database_checks
from mailement_common.db.clock import DatabaseClock
from mailement_common.db.pool import close_pool, new_pool
from mailement_common.health import Check, CheckResult
from mailement_common.sealing import BadKeyRing, KeyRing
from mailement_common.settings import ConfigurationFaults
from mailement_common.supervise import keep_running
from mailement_newsletter.schema import MIGRATIONS
from mailement_webhook_dispatcher.attempt import Attempter
from mailement_webhook_dispatcher.capacity import Capacity
from mailement_webhook_dispatcher.deliverer import Deliverer
from mailement_webhook_dispatcher.gauges import keep_gauges
from mailement_webhook_dispatcher.handlers import ingest
from mailement_webhook_dispatcher.housekeeping import Housekeeping, Keeping
from mailement_webhook_dispatcher.http.exchange import Limits
from mailement_webhook_dispatcher.lineup import Lineup
from mailement_webhook_dispatcher.metrics import OWNED_SHARDS
from mailement_webhook_dispatcher.recorder import Recorder
from mailement_webhook_dispatcher.sender import Sender
from mailement_webhook_dispatcher.settings import DispatcherSettings
from mailement_webhook_dispatcher.shards import Owner, ShardOwner
from mailement_webhook_dispatcher.sweep import Sweeper
from mailement_webhook_dispatcher.workloads import Workloads
from mailement_webhooks.database import BY_INDEX
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.rules.profiles import PROMISES
from mailement_webhooks.usecases.announce_due import CHANNEL as DUE
from mailement_webhooks.usecases.announce_due import EVERYWHERE
from mailement_webhooks.usecases.leased_elsewhere import leased_elsewhere

# For whatever stands between the end of a POST and its row in the ledger.
_LEASE_MARGIN_SECONDS: Final = 10
# Ingest, record, load, sweep, reap, the other housekeeping, and two for the checks.
_MOST_CONNECTIONS: Final = 8
_CHANGED: Final = "webhook_endpoint_changed"


class WebhookDispatcher:
    """Any number of replicas; each endpoint has one owner among them."""

    name = "webhook-dispatcher"

    def __init__(
        self,
        settings: DispatcherSettings,
        *,
        clock: Clock | None = None,
        limits: Limits | None = None,
        lease_margin_seconds: float = _LEASE_MARGIN_SECONDS,
        pace: float = 1.0,
    ) -> None:
        """Opens nothing yet. Raises ConfigurationFaults.

        `limits`: in place of those of the profiles. `pace`: what the pauses of the retry schedule are multiplied by.
        """
        try:
            keys = KeyRing(settings.secret_keys.get_secret_value())
        except BadKeyRing as fault:
            raise ConfigurationFaults([f"MAILEMENT_SECRET_KEYS: {fault}"]) from fault
        self._settings = settings
        self._database_clock = DatabaseClock()
        self._clock = clock or self._database_clock
        self._limits = _limits(limits)
        self._sender = Sender(Guard(allow=settings.webhook_allow_cidrs))
        self._pool = new_pool(
            settings,
            name=self.name,
            size=min(settings.database_pool_size, _MOST_CONNECTIONS),
            server_settings=BY_INDEX,
        )
        self._workloads = Workloads(
            keys,
            endpoint_cap=settings.webhook_endpoint_concurrency,
            brand_cap=settings.webhook_brand_concurrency,
        )
        self._owner = ShardOwner(
            settings,
            Owner(
                taken=self._taken,
                given_up=self._given_up,
                busy=self._workloads.busy_shards,
                hears={DUE: self._hear_due, _CHANGED: self._hear_changed},
            ),
        )
        self._recorder = Recorder(self._pool, pace=pace)
        capacity = Capacity(
            slots=settings.webhook_concurrency,
            lease_seconds=max(limit.total_seconds for limit in self._limits.values()) + lease_margin_seconds,
            order_seconds=settings.webhook_order_seconds,
        )
        self._lineup = Lineup(self._workloads, self._clock, capacity)
        self._deliverer = Deliverer(
            self._pool,
            self._owner,
            self._workloads,
            self._lineup,
            Attempter(self._sender, self._clock, self._limits),
            self._recorder,
            capacity,
        )
        self._sweeper = Sweeper(self._pool, owned=lambda: self._owner.owned, expect=self._lineup.expect)
        self._housekeeping = Housekeeping(
            self._pool,
            Keeping(
                hold_days=settings.webhook_hold_days,
                ledger_days=settings.webhook_ledger_days,
                payload_days=settings.webhook_payload_days,
            ),
            owned=lambda: self._owner.owned,
            wake=self._lineup.wake,
            is_ours=self._workloads.is_ours,
            is_behind=lambda: self._recorder.is_behind,
            look_everywhere=self._sweeper.everywhere,
        )
        self._consumer = Consumer(
            settings,
            WEBHOOKS,
            ingest(self._pool, wake=self._lineup.wake, is_ours=self._workloads.is_ours),
            name=self.name,
        )

    def checks(self) -> Mapping[str, Check]:
        """The broker is only reported: what is in the ledger is delivered without it."""
        return {
            **database_checks(self._pool, MIGRATIONS),
            "broker": Check(run=self._ask_broker, required=False),
            "shards": Check(run=self._ask_shards, required=False),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`; then finishes and records what is under way, and gives up its shards."""
        await self._pool
        try:
            async with self._sender:
                await self._run(stop)
        finally:
            await close_pool(self._pool)

    async def _run(self, stop: asyncio.Event) -> None:
        recording = asyncio.create_task(
            # Whatever has been posted is to be recorded, so only the end of all else ends this.
            keep_running(
                "webhook recorder", lambda: self._recorder.run(self._deliverer.settled), asyncio.Event()
            )
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._owner.run(stop))
                group.create_task(self._deliverer.run(stop))
                group.create_task(self._consumer.run(stop))
                group.create_task(self._sweeper.run(stop))
                group.create_task(self._housekeeping.run(stop))
                group.create_task(keep_gauges(self._pool, self._workloads, stop))
                group.create_task(
                    keep_running("clock", lambda: self._database_clock.keep_in_sync(self._pool, stop), stop)
                )
        finally:
            recording.cancel()

    async def _taken(self, connection: asyncpg.Connection, shards: Collection[Shard]) -> None:
        OWNED_SHARDS.inc(len(shards))
        self._workloads.take(shards)
        leases = await leased_elsewhere(connection, shards, ours=self._workloads.leases)
        await self._workloads.load(connection, leases.keys())
        self._workloads.count_leases(leases)
        self._sweeper.everywhere()

    def _given_up(self, shards: Collection[Shard]) -> None:
        self._lineup.forget(self._workloads.give_up(shards))
        OWNED_SHARDS.dec(len(shards))

    def _hear_due(self, told: str) -> None:
        if told == EVERYWHERE:
            self._sweeper.everywhere()
        else:
            self._lineup.wake([EndpointId(int(part)) for part in told.split(",")])

    def _hear_changed(self, told: str) -> None:
        self._lineup.changed(EndpointId(int(told)))

    async def _ask_broker(self) -> CheckResult:
        return CheckResult(ok=self._consumer.connected)

    async def _ask_shards(self) -> CheckResult:
        return CheckResult(ok=self._owner.connected, detail=f"{len(self._owner.owned)} owned")


def _limits(given: Limits | None) -> dict[Profile, Limits]:
    return {
        profile: given or Limits(connect_seconds=promise.connect_seconds, total_seconds=promise.total_seconds)
        for profile, promise in PROMISES.items()
    }
