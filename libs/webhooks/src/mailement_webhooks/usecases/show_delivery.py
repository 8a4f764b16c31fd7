"""Show one delivery with every attempt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import Attempt, AttemptOutcome, Delivery, Phases, Reason, Trigger
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.errors import DeliveryNotFound
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.usecases.list_deliveries import load_deliveries

SQL: Final = queries_beside(__file__)

# The schedule and an open breaker's probes make some hundred; who sends again by hand can go on for ever.
_MOST_ATTEMPTS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """`body`: what is signed and sent; None: it has been removed. `attempts`: the newest thousand, oldest first."""

    delivery: Delivery
    profile: Profile
    body: bytes | None
    attempts: tuple[Attempt, ...]


async def show_delivery(
    executor: Executor, delivery_id: DeliveryId, *, brand_id: BrandId | None = None
) -> DeliveryReport:
    """`brand_id`: only if the delivery is of this brand. Where an endpoint hears every brand of the account, the brand does
    not get to see what was exchanged with it. Raises DeliveryNotFound.
    """
    key = await executor.fetchrow(SQL["key"], delivery_id, brand_id)
    if key is None:
        raise DeliveryNotFound(delivery_id)
    (delivery,) = await load_deliveries(executor, [key])
    rows = await executor.fetch(SQL["attempts"], delivery_id, key["occurred_at"], _MOST_ATTEMPTS)
    attempts = [_attempt(row) for row in reversed(rows)]
    if brand_id is not None and key["account_wide"]:
        attempts = [_without_exchange(attempt) for attempt in attempts]
    return DeliveryReport(
        delivery=delivery, profile=Profile(key["profile"]), body=key["body"], attempts=tuple(attempts)
    )


def _without_exchange(attempt: Attempt) -> Attempt:
    return replace(attempt, detail=None, request_head=None, response_head=None, response_body=None)


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        number=row["number"],
        trigger=Trigger(row["trigger"]),
        outcome=AttemptOutcome(row["outcome"]),
        reason=None if row["reason"] is None else Reason(row["reason"]),
        detail=row["detail"],
        status_code=row["status_code"],
        request_head=row["request_head"],
        response_head=row["response_head"],
        response_body=row["response_body"],
        started_at=row["started_at"],
        duration_ms=row["duration_ms"],
        phases=Phases(
            dns=row["dns_ms"],
            connect=row["connect_ms"],
            tls=row["tls_ms"],
            first_byte=row["first_byte_ms"],
            body=row["body_ms"],
        ),
        next_attempt_at=row["next_attempt_at"],
    )
