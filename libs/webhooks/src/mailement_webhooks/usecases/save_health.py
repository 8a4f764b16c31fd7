"""Save how endpoints fare."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.health import Health

SQL: Final = queries_beside(__file__)


async def save_health(executor: Executor, healths: Mapping[EndpointId, Health]) -> Collection[EndpointId]:
    """Those that were saved. The others have been switched on again, and start afresh."""
    values = healths.values()
    rows = (
        await executor.fetch(
            SQL["save"],
            list(healths),
            [health.consecutive_failures for health in values],
            [health.failure_days for health in values],
            [health.last_failure_day for health in values],
            [health.first_failure_at for health in values],
            [health.last_success_at for health in values],
            [health.gone_in_a_row for health in values],
            [health.breaker_trips for health in values],
            [health.hold_until for health in values],
            [health.hold_reason for health in values],
            [health.told for health in values],
            [health.fresh_starts for health in values],
        )
        if healths
        else []
    )
    return {EndpointId(row["endpoint_id"]) for row in rows}
