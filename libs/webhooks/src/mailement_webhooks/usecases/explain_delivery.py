"""Explain why a delivery has not arrived, and when it will."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import Delivery, Reason
from mailement_webhooks.endpoints import EndpointState, RetryMode, StateReason
from mailement_webhooks.errors import DeliveryNotFound
from mailement_webhooks.explanations import (
    MOST_AHEAD_COUNTED,
    EndpointFacts,
    Explanation,
    Facts,
    LastFailure,
    QueuePlace,
    explain,
)
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.rules.health import HoldReason
from mailement_webhooks.settings import WebhookWaitSettings
from mailement_webhooks.usecases.list_deliveries import ENDED, load_deliveries

SQL: Final = queries_beside(__file__)


async def explain_delivery(
    executor: Executor,
    delivery_id: DeliveryId,
    *,
    waits: WebhookWaitSettings,
    brand_id: BrandId | None = None,
) -> Explanation:
    """Changes nothing. `waits`: what the dispatchers are set to. Raises DeliveryNotFound."""
    row = await executor.fetchrow(SQL["facts"], delivery_id, brand_id, MOST_AHEAD_COUNTED)
    if row is None:
        raise DeliveryNotFound(delivery_id)
    (delivery,) = await load_deliveries(executor, [row])
    return explain(
        Facts(
            at=row["at"],
            delivery=delivery,
            has_payload=row["has_payload"],
            endpoint=_endpoint(row),
            place=_place(row, delivery),
            last_failure=_last_failure(row, detailed=brand_id is None or not row["account_wide"]),
            hold_for=timedelta(days=waits.webhook_hold_days),
            order_for=timedelta(seconds=waits.webhook_order_seconds),
        )
    )


def _endpoint(row: asyncpg.Record) -> EndpointFacts:
    return EndpointFacts(
        state=EndpointState(row["endpoint_state"]),
        state_reason=None if row["state_reason"] is None else StateReason(row["state_reason"]),
        state_changed_at=row["state_changed_at"],
        retries=RetryMode(row["retries"]),
        rate_per_second=row["rate_per_second"],
        consecutive_failures=row["consecutive_failures"],
        hold_until=row["hold_until"],
        hold_reason=None if row["hold_reason"] is None else HoldReason(row["hold_reason"]),
    )


def _place(row: asyncpg.Record, delivery: Delivery) -> QueuePlace | None:
    # Read a moment apart: it may have ended between the two.
    if not row["waits"] or delivery.state in ENDED:
        return None
    return QueuePlace(
        due_at=row["due_at"],
        created_at=row["queued_at"],
        leased_at=row["leased_at"],
        tries=row["tries"],
        refusals=row["refusals"],
        ahead=row["ahead"],
        under_way=row["under_way"],
        earlier_id=None if row["earlier_id"] is None else DeliveryId(row["earlier_id"]),
    )


def _last_failure(row: asyncpg.Record, *, detailed: bool) -> LastFailure | None:
    if row["failed_at"] is None:
        return None
    return LastFailure(
        reason=Reason(row["failure_reason"]),
        detail=row["failure_detail"] if detailed else None,
        status_code=row["failure_status_code"],
        at=row["failed_at"],
    )
