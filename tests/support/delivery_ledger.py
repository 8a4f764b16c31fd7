"""The delivery ledger, worked by hand: what a dispatcher does with it, deed by deed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from mailement_common.ids import AccountId, BrandId, EventId
from mailement_webhooks.deliveries import AttemptOutcome, Phases, Reason
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import DeliveryId, EndpointId, Shard
from mailement_webhooks.usecases.claim_deliveries import Claim, LeasedDelivery, Turn, claim_deliveries
from mailement_webhooks.usecases.record_attempts import AttemptResult, record_attempts
from mailement_webhooks.usecases.record_events import Recorded, WebhookEvent, record_events
from tests.support.database import Database
from tests.support.webhooks import WebhookBrand

TYPE = "subscriber.confirmed"
ALL_SHARDS = [Shard(number) for number in range(64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLedger:
    """One brand's. `endpoint` makes as many endpoints as wanted; none is ever posted to."""

    pool: asyncpg.Pool
    account_id: AccountId
    brand_id: BrandId
    endpoints: list[EndpointId] = field(default_factory=list)

    @classmethod
    async def create(cls, database: Database, *, slug: str = "nowness") -> DeliveryLedger:
        brand = await WebhookBrand.create(database, slug=slug)
        return cls(pool=database.pool, account_id=brand.account_id, brand_id=brand.id)

    async def endpoint(
        self,
        *,
        ordered: bool = False,
        profile: Profile = Profile.MAILEMENT,
        types: Sequence[str] = (TYPE,),
        every_brand: bool = False,
    ) -> EndpointId:
        made = await self.pool.fetchval(
            "INSERT INTO webhook_endpoints (account_id, brand_id, profile, url, secret_sealed, event_types, ordered) "
            "VALUES ($1, $2, $3, 'http://192.0.2.1/hook', 'sealed', $4, $5) RETURNING id",
            self.account_id,
            None if every_brand else self.brand_id,
            profile,
            list(types),
            ordered,
        )
        self.endpoints.append(EndpointId(made))
        return EndpointId(made)

    def event(
        self,
        *,
        subscriber: int | None = None,
        profile: Profile = Profile.MAILEMENT,
        event_type: str = TYPE,
        about: EndpointId | None = None,
        at: datetime | None = None,
    ) -> WebhookEvent:
        return WebhookEvent(
            id=EventId(uuid4()),
            profile=profile,
            brand_id=self.brand_id,
            type=event_type,
            body=b'{"it": "happened"}',
            occurred_at=at or datetime.now(UTC),  # noqa: TID251 - the present month has a partition
            order_key=subscriber,
            about_endpoint=about,
        )

    async def happen(self, *events: WebhookEvent) -> Recorded:
        return await record_events(self.pool, events)

    async def happens(self, count: int, *, subscriber: int | None = None) -> None:
        await self.happen(*(self.event(subscriber=subscriber) for _ in range(count)))

    async def claim(
        self,
        *endpoints: EndpointId,
        room: int = 100,
        replay_room: int = 0,
        lease_seconds: float = 60,
        order_seconds: float = 600,
    ) -> Claim:
        turns = [
            Turn(endpoint_id=endpoint, room=room, replay_room=replay_room)
            for endpoint in endpoints or self.endpoints
        ]
        async with self.pool.acquire() as connection:
            return await claim_deliveries(
                connection, turns, lease_seconds=lease_seconds, order_seconds=order_seconds
            )

    async def record(self, *results: AttemptResult) -> set[DeliveryId]:
        return set(await record_attempts(self.pool, results))

    async def queued(self) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.pool.fetch(
            "SELECT * FROM delivery_queue ORDER BY delivery_id"
        )
        return rows

    async def deliveries(self) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.pool.fetch(
            "SELECT *, tableoid::regclass::text AS partition FROM deliveries ORDER BY endpoint_id, sequence"
        )
        return rows

    async def states(self) -> dict[str, int]:
        rows = await self.pool.fetch("SELECT state, count(*) AS many FROM deliveries GROUP BY state")
        return {row["state"]: row["many"] for row in rows}

    async def attempts(self, delivery_id: DeliveryId) -> list[tuple[int, str, str]]:
        rows = await self.pool.fetch(
            "SELECT number, trigger, outcome FROM delivery_attempts WHERE delivery_id = $1 ORDER BY number",
            delivery_id,
        )
        return [(row["number"], row["trigger"], row["outcome"]) for row in rows]

    async def end_leases(self) -> None:
        """As if their time were up."""
        await self.pool.execute(
            "UPDATE delivery_queue SET due_at = now() - interval '1 second' WHERE lease_token IS NOT NULL"
        )

    async def make_due(self) -> None:
        """As if whatever waits for its time had waited long enough."""
        await self.pool.execute("UPDATE delivery_queue SET due_at = now() WHERE lease_token IS NULL")

    async def sequences(self) -> dict[int, list[int]]:
        rows = await self.pool.fetch(
            "SELECT endpoint_id, array_agg(sequence ORDER BY sequence) AS numbers FROM deliveries GROUP BY endpoint_id"
        )
        return {row["endpoint_id"]: row["numbers"] for row in rows}


def delivered(delivery: LeasedDelivery, **changes: Any) -> AttemptResult:
    return _result(delivery, outcome=AttemptOutcome.DELIVERED, reason=None, next_attempt_in=None, **changes)


def failed(delivery: LeasedDelivery, *, again_in: float | None = None, **changes: Any) -> AttemptResult:
    return _result(
        delivery,
        outcome=AttemptOutcome.FAILED,
        reason=Reason.HTTP_5XX,
        next_attempt_in=again_in,
        **changes,
    )


def _result(delivery: LeasedDelivery, **changes: Any) -> AttemptResult:
    values: dict[str, Any] = {
        "delivery_id": delivery.id,
        "lease_token": delivery.lease_token,
        "detail": None,
        "status_code": 200,
        "request_head": "POST /hook HTTP/1.1\r\n\r\n",
        "response_head": "HTTP/1.1 200 OK\r\n\r\n",
        "response_body": "",
        "started_at": datetime.now(UTC),  # noqa: TID251 - only shown
        "duration_ms": 3,
        "phases": Phases(connect=1, first_byte=2, body=0),
        "tries": delivery.tries + 1,
        "refusals": 0,
    }
    return AttemptResult(**{**values, **changes})


def stranger() -> UUID:
    """A lease token of nobody."""
    return uuid4()
