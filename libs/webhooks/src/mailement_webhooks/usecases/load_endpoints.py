"""Load endpoints as whoever posts to them needs them: with their secrets, and how they fare."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.rules.health import Health, HoldReason
from mailement_webhooks.usecases.list_endpoints import endpoint_of

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAtWork:
    """Secrets are sealed for their endpoint."""

    endpoint: Endpoint
    shard: Shard
    secret_sealed: str = field(repr=False)
    secret_staged_sealed: str | None = field(repr=False)
    secret_previous_sealed: str | None = field(repr=False)
    health: Health


async def load_endpoints(
    executor: Executor, endpoint_ids: Collection[EndpointId]
) -> Sequence[EndpointAtWork]:
    """In whatever state they are; those that do not exist are left out."""
    return [_at_work(row) for row in await executor.fetch(SQL["load"], list(endpoint_ids))]


def _at_work(row: asyncpg.Record) -> EndpointAtWork:
    return EndpointAtWork(
        endpoint=endpoint_of(row),
        shard=Shard(row["shard"]),
        secret_sealed=row["secret_sealed"],
        secret_staged_sealed=row["secret_staged_sealed"],
        secret_previous_sealed=row["secret_previous_sealed"],
        health=Health() if row["told"] is None else health_of(row),
    )


def health_of(row: asyncpg.Record) -> Health:
    """From a row with the columns of `webhook_endpoint_health`."""
    return Health(
        consecutive_failures=row["consecutive_failures"],
        failure_days=row["failure_days"],
        last_failure_day=row["last_failure_day"],
        first_failure_at=row["first_failure_at"],
        last_success_at=row["last_success_at"],
        gone_in_a_row=row["gone_in_a_row"],
        breaker_trips=row["breaker_trips"],
        hold_until=row["hold_until"],
        hold_reason=None if row["hold_reason"] is None else HoldReason(row["hold_reason"]),
        told=row["told"],
        fresh_starts=row["fresh_starts"],
    )
