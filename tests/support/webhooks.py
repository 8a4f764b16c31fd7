"""A brand with webhooks, and a dispatcher that runs as in production, though without a broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from mailement_common.clock import Clock
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import AccountId, BrandId, EventId
from mailement_common.sealing import KeyRing, new_key
from mailement_webhook_dispatcher.handlers import ingest
from mailement_webhook_dispatcher.http.exchange import Limits
from mailement_webhook_dispatcher.service import WebhookDispatcher
from mailement_webhook_dispatcher.settings import DispatcherSettings
from mailement_webhooks.deliveries import Attempt, Delivery, DeliveryState, Reason
from mailement_webhooks.endpoints import Endpoint, RetryMode
from mailement_webhooks.ids import DeliveryId, EndpointId
from mailement_webhooks.rules.guard import Guard, parse_networks
from mailement_webhooks.usecases.list_deliveries import DeliveryFilter, list_deliveries
from mailement_webhooks.usecases.set_endpoint import set_endpoint
from mailement_webhooks.usecases.show_delivery import show_delivery
from tests.support.database import Database

LOOPBACK = "127.0.0.0/8,::1/128"
ANYWHERE = Guard(allow=parse_networks("0.0.0.0/0,::/0"))
_DEADLINE_SECONDS = 20
# Nothing listens there: the ledger is delivered without a broker.
_NO_BROKER = "amqp://guest:guest@127.0.0.1:9/"
_WAITING = {DeliveryState.PENDING, DeliveryState.HELD, DeliveryState.LEASED}


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """`attempts`: oldest first."""

    delivery: Delivery
    attempts: tuple[Attempt, ...]

    @property
    def id(self) -> DeliveryId:
        return self.delivery.id

    @property
    def endpoint_id(self) -> EndpointId:
        return self.delivery.endpoint_id

    @property
    def state(self) -> DeliveryState:
        return self.delivery.state

    @property
    def reason(self) -> Reason | None:
        return self.delivery.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookBrand:
    database: Database
    account_id: AccountId
    id: BrandId
    keys: str = field(default_factory=lambda: new_key("test"))

    @classmethod
    async def create(cls, database: Database, *, slug: str = "nowness") -> WebhookBrand:
        account = await database.pool.fetchval(
            "INSERT INTO accounts (slug, name) VALUES ($1, $1) RETURNING id", slug
        )
        brand = await database.pool.fetchval(
            "INSERT INTO brands (account_id, slug, name, opt_in_mode) VALUES ($1, $2, $2, 'single') RETURNING id",
            account,
            slug,
        )
        return cls(database=database, account_id=AccountId(account), id=BrandId(brand))

    @property
    def key_ring(self) -> KeyRing:
        return KeyRing(self.keys)

    async def hear_at(self, url: str, *, retries: RetryMode | None = None) -> tuple[Endpoint, str]:
        """Sets the endpoint, wherever it may be, and returns it with its secret."""
        async with self.database.pool.acquire() as connection:
            return await set_endpoint(
                connection, self.key_ring, self.id, self.account_id, url, guard=ANYWHERE, retries=retries
            )

    def event(self, event_type: str = EventType.SUBSCRIBER_CONFIRMED, *, reader: int = 41023) -> Envelope:
        return Envelope(
            id=EventId(uuid4()),
            type=event_type,
            brand_id=self.id,
            occurred_at=datetime.now(UTC),  # noqa: TID251 - the lag is measured against the real time
            data={"brand_slug": "nowness", "subscriber": subscriber_facts(reader)},
        )

    async def happen(self, *events: Envelope) -> None:
        """What the consumer of a dispatcher that owns nothing does with a batch from the broker."""
        await ingest(self.database.pool, wake=lambda _: None, is_ours=lambda _: False)(events)

    async def deliveries(self) -> list[LedgerEntry]:
        """The oldest first."""
        page = await list_deliveries(self.database.pool, DeliveryFilter(brand_id=self.id), limit=1000)
        reports = [await show_delivery(self.database.pool, delivery.id) for delivery in page.deliveries]
        return sorted(
            (LedgerEntry(delivery=report.delivery, attempts=report.attempts) for report in reports),
            key=lambda entry: entry.id,
        )

    async def settled(self, count: int = 1) -> list[LedgerEntry]:
        """Waits until there are so many deliveries and none of them waits."""
        await self.until(
            lambda states: (
                sum(states.values()) >= count and not any(states.get(state, 0) for state in _WAITING)
            )
        )
        return await self.deliveries()

    async def until(self, enough: Callable[[Mapping[DeliveryState, int]], bool]) -> None:
        """Waits until the brand's deliveries, counted by their state, are as wanted."""
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not enough(await self.states()):
                await asyncio.sleep(0.02)

    async def states(self) -> Mapping[DeliveryState, int]:
        page = await list_deliveries(self.database.pool, DeliveryFilter(brand_id=self.id), limit=1000)
        return Counter(delivery.state for delivery in page.deliveries)

    async def endpoint_changes(self, endpoint_id: EndpointId, **columns: object) -> None:
        """Writes columns of the endpoint's row, as operators' deeds do."""
        for column, value in columns.items():
            await self.database.pool.execute(
                f"UPDATE webhook_endpoints SET {column} = $2 WHERE id = $1", endpoint_id, value
            )

    @asynccontextmanager
    async def dispatching(
        self,
        *,
        allow: str = LOOPBACK,
        concurrency: int = 100,
        endpoint_concurrency: int = 10,
        brand_concurrency: int = 20,
        connect_seconds: float = 3,
        total_seconds: float = 5,
        clock: Clock | None = None,
        pace: float = 1,
        order_seconds: float = 600,
    ) -> AsyncIterator[asyncio.Event]:
        """Runs a dispatcher; the event that is handed out tells it to stop."""
        service = WebhookDispatcher(
            DispatcherSettings(
                database_url=self.database.url,
                amqp_url=_NO_BROKER,
                secret_keys=SecretStr(self.keys),
                webhook_allow_cidrs=parse_networks(allow),
                webhook_concurrency=concurrency,
                webhook_endpoint_concurrency=endpoint_concurrency,
                webhook_brand_concurrency=brand_concurrency,
                webhook_order_seconds=order_seconds,
            ),
            clock=clock,
            limits=Limits(connect_seconds=connect_seconds, total_seconds=total_seconds),
            pace=pace,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(service.run(stop))
        try:
            yield stop
        finally:
            stop.set()
            await running


def subscriber_facts(subscriber_id: int = 41023) -> dict[str, Any]:
    """As an event tells them; the reader is the one of the Mailement document."""
    return {
        "id": subscriber_id,
        "email": "reader@example.com",
        "first_name": "Maria",
        "last_name": "Costa",
        "city": "Lisbon",
        "custom_fields": {"favorite_genre": "essays"},
        "status": "confirmed",
        "source": "api",
        "confirmed_at": "2026-05-19T17:42:00.123456+00:00",
        "unsubscribed_at": None,
        "version": 1,
    }


def outcomes(delivery: LedgerEntry) -> Sequence[tuple[int, str]]:
    return [(attempt.number, str(attempt.outcome)) for attempt in delivery.attempts]
