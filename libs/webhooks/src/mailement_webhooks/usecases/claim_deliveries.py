"""Claim deliveries for sending, and give back what is not begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.database import Connection, Executor
from mailement_webhooks.deliveries import Trigger
from mailement_webhooks.ids import DeliveryId, EndpointId, ReplayId
from mailement_webhooks.ids import Sequence as SequenceNumber

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """At most `room` deliveries for an endpoint, of which at most `replay_room` are replayed ones."""

    endpoint_id: EndpointId
    room: int
    replay_room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedDelivery:
    """One delivery that this dispatcher alone may attempt until its lease ends.

    `attempt` counts from 1, `tries` those before this one that count against the schedule, and `refusals` the last of them
    that were refusals, in a row. `created_at`: when it came into the queue. `body` None: removed. `endpoint_version`: what the endpoint's was at the claim.
    """

    id: DeliveryId
    occurred_at: datetime
    event_id: EventId
    endpoint_id: EndpointId
    endpoint_version: int
    brand_id: BrandId
    sequence: SequenceNumber
    trigger: Trigger
    replay_id: ReplayId | None
    attempt: int
    tries: int
    refusals: int
    lease_token: UUID
    created_at: datetime
    type: str
    body: bytes | None = field(repr=False)
    traceparent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`next_due_in`: for each turn, seconds until there is more that is not due yet; None: nothing waits for a time.

    An endpoint whose room was filled may have more that is due already; so may one with 0 or less, namely replayed ones
    for which there was no room. One that is not enabled has None.
    """

    deliveries: Sequence[LeasedDelivery]
    next_due_in: Mapping[EndpointId, float | None]


async def claim_deliveries(
    connection: Connection, turns: Sequence[Turn], *, lease_seconds: float, order_seconds: float
) -> Claim:
    """Leases what is due: live ones first, of each endpoint the longest due first.

    Where an endpoint asks for order, a delivery waits for earlier ones of its subscriber, `order_seconds` at most.
    """
    rows = await connection.fetch(
        SQL["claim"],
        [turn.endpoint_id for turn in turns],
        [turn.room for turn in turns],
        [turn.replay_room for turn in turns],
        uuid4(),
        lease_seconds,
        order_seconds,
    )
    next_due_in: dict[EndpointId, float | None] = dict.fromkeys((turn.endpoint_id for turn in turns), None)
    next_due_in.update((EndpointId(row["endpoint_id"]), row["next_due_in"]) for row in rows)
    return Claim(deliveries=[_leased(row) for row in rows if row["id"] is not None], next_due_in=next_due_in)


async def release_deliveries(executor: Executor, deliveries: Sequence[LeasedDelivery]) -> None:
    """Makes claimed deliveries that nothing was sent of due again; their numbers are given anew."""
    await executor.execute(
        SQL["release"],
        [delivery.id for delivery in deliveries],
        [delivery.lease_token for delivery in deliveries],
    )


def _leased(row: asyncpg.Record) -> LeasedDelivery:
    return LeasedDelivery(
        id=row["id"],
        occurred_at=row["occurred_at"],
        event_id=row["event_id"],
        endpoint_id=row["endpoint_id"],
        endpoint_version=row["endpoint_version"],
        brand_id=row["brand_id"],
        sequence=row["sequence"],
        trigger=Trigger(row["trigger"]),
        replay_id=row["replay_id"],
        attempt=row["attempts"],
        tries=row["tries"],
        refusals=row["refusals"],
        lease_token=row["lease_token"],
        created_at=row["created_at"],
        type=row["type"],
        body=row["body"],
        traceparent=row["traceparent"],
    )
